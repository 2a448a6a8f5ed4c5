//! The files a fleet is read from: reading them safely, and where a byte stands.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::tree::{FileId, Span};

/// The largest file that is read. A fleet of 5 000 agents has about this size.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Whether a file's lines may be shown in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposure {
    /// Its lines are shown, underlined.
    Shown,
    /// It holds secrets: only its name and line numbers are shown.
    Secret,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The name in messages.
    pub(super) name: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its text without a byte order mark.
    pub(super) text: String,
    pub(super) exposure: Exposure,
    line_starts: Vec<usize>,
    /// Bytes that are not shown, also where their lines are.
    secrets: Vec<Range<usize>>,
}

/// All files that were read.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    files: Vec<Source>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("there is no such file")]
    Missing,
    #[error("it is a directory, not a file")]
    Directory,
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("it is larger than 1 MiB")]
    TooLarge,
    #[error("it is not UTF-8 text: line {line} has the byte 0x{byte:02x} there")]
    NotUtf8 { line: usize, byte: u8 },
    #[error("it has a NUL byte in line {line}: it is not a text file, or was only half written")]
    Nul { line: usize },
}

impl FileError {
    /// What to do about it.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Missing => "check the path, or create the file",
            Self::Directory => "name the file in it",
            Self::NotRegular => "name a file on disk; pipes and devices are not read",
            Self::Unreadable(_) => "check that the supervisor's user may read it",
            Self::TooLarge => {
                "check that it is the right file; split a large fleet with `$include`"
            }
            Self::NotUtf8 { .. } => "save the file as UTF-8",
            Self::Nul { .. } => "write the file again",
        }
    }
}

impl Source {
    pub(super) fn new(name: String, path: PathBuf, text: String, exposure: Exposure) -> Self {
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(index, _)| index + 1))
            .collect();
        Self {
            name,
            path,
            text,
            exposure,
            line_starts,
            secrets: Vec::new(),
        }
    }

    /// A part of the text, with what is not shown of it blotted out, byte for byte.
    pub(super) fn shown(&self, range: Range<usize>) -> Cow<'_, str> {
        let text = &self.text[range.clone()];
        let inside = |secret: &Range<usize>| {
            let start = secret.start.clamp(range.start, range.end);
            let end = secret.end.clamp(start, range.end);
            start - range.start..end - range.start
        };
        let secrets = self.secrets.iter().map(inside);
        let mut shown = Cow::Borrowed(text);
        for secret in secrets.filter(|secret| !secret.is_empty()) {
            let blot = "*".repeat(secret.len());
            shown.to_mut().replace_range(secret, &blot);
        }
        shown
    }

    /// The line of a byte, from 0.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset) - 1
    }

    /// The line (from 1) and the column in characters (from 1) of a byte.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor(offset);
        let line = self.line_of(offset);
        let column = self.text[self.line_starts[line]..offset].chars().count();
        (line + 1, column + 1)
    }

    /// The bytes of a line (from 0) without its line break.
    pub(super) fn line_range(&self, line: usize) -> Range<usize> {
        let start = self.line_starts[line];
        let end = match self.line_starts.get(line + 1) {
            Some(next) => next - 1,
            None => self.text.len(),
        };
        let carriage_return = self.text[start..end].ends_with('\r');
        start..end - usize::from(carriage_return)
    }

    /// The nearest character boundary at or before a byte.
    pub(super) fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

impl Sources {
    pub(super) fn add(&mut self, source: Source) -> FileId {
        self.files.push(source);
        FileId(self.files.len() - 1)
    }

    /// Never shows what stands there.
    pub(super) fn keep_secret(&mut self, span: Span) {
        self.files[span.file.0].secrets.push(span.start..span.end);
    }

    pub(super) fn get(&self, id: FileId) -> &Source {
        &self.files[id.0]
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files
            .iter()
            .map(|source| source.path.clone())
            .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.files.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

/// Reads a regular file of at most [`MAX_FILE_BYTES`] as text.
pub(super) fn read_text(path: &Path) -> Result<String, FileError> {
    let unreadable = |error: std::io::Error| {
        let missing = [
            std::io::ErrorKind::NotFound,
            std::io::ErrorKind::NotADirectory,
        ];
        if missing.contains(&error.kind()) {
            FileError::Missing
        } else {
            FileError::Unreadable(error)
        }
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(FileError::Directory);
    }
    if !metadata.is_file() {
        return Err(FileError::NotRegular);
    }
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(unreadable)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    decode(bytes)
}

/// Checks that bytes are a text of acceptable size.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, FileError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge);
    }
    let line_at = |offset: usize| 1 + bytes[..offset].iter().filter(|&&b| b == b'\n').count();
    if let Some(offset) = bytes.iter().position(|&byte| byte == 0) {
        return Err(FileError::Nul {
            line: line_at(offset),
        });
    }
    if let Err(error) = std::str::from_utf8(&bytes) {
        let offset = error.valid_up_to();
        return Err(FileError::NotUtf8 {
            line: line_at(offset),
            byte: bytes[offset],
        });
    }
    Ok(String::from_utf8(bytes).expect("the bytes were checked to be UTF-8"))
}
