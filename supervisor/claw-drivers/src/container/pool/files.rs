//! Files that go into a sandbox before its command, and come out after it.
//!
//! They travel as an archive through the image's own `tar`, which runs in the sandbox as the
//! command does: `/tmp` is memory that only the sandbox sees. What comes out was written by a
//! stranger, so no more of it is believed than the bytes of regular files that were asked for.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use claw_core::Wall;

use super::command::Command;
use super::outcome::RunError;
use super::spec::WORKING_DIR;

/// All files of one direction together, in bytes.
pub(super) const MOST_BYTES: u64 = 16 << 20;

/// Files of one direction.
const MOST_FILES: usize = 256;

/// The longest name, in bytes.
const LONGEST: usize = 1024;

/// Why a file is not in an archive that is whole.
pub(super) const NO_SUCH_FILE: &str = "there is no such file";

/// What an archive has beside the bytes of its files: heads, paddings and long names.
const OVERHEAD: u64 = 4096 * MOST_FILES as u64;

/// A file that came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutFile {
    /// Its bytes.
    Taken(Vec<u8>),
    /// Why there are none, in a sentence.
    Missing(String),
}

/// Whether a name stays below the working directory.
fn is_inside(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    parts.peek().is_some()
        && name.len() <= LONGEST
        && !name.contains(['\0', '\n'])
        && !name.ends_with('/')
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Checks the names and the size of what goes in, and the names of what comes out.
pub(super) fn check(command: &Command) -> Result<(), RunError> {
    let names = || command.files.keys().chain(&command.outputs);
    if let Some(name) = names().find(|name| !is_inside(name)) {
        return Err(RunError::Invalid(format!(
            "`{name}` cannot be the name of a file in a sandbox: it has to be relative, below the \
             working directory, without `..`"
        )));
    }
    if command.files.len() > MOST_FILES || command.outputs.len() > MOST_FILES {
        return Err(RunError::Invalid(format!(
            "{MOST_FILES} files go in, and as many come out, at most"
        )));
    }
    let size: usize = command.files.values().map(Vec::len).sum();
    if size as u64 > MOST_BYTES {
        return Err(RunError::Invalid(format!(
            "the files have {size} bytes, and {MOST_BYTES} go in at most"
        )));
    }
    Ok(())
}

/// The command that unpacks what goes in.
pub(super) fn unpack(files: &BTreeMap<String, Vec<u8>>) -> Result<Command, RunError> {
    let mut archive = tar::Builder::new(Vec::new());
    let now = u64::try_from(Wall::now().as_second()).unwrap_or(0);
    for (name, bytes) in files {
        let mut head = tar::Header::new_gnu();
        head.set_size(bytes.len() as u64);
        // Whether it is a program is not known.
        head.set_mode(0o755);
        head.set_mtime(now);
        archive
            .append_data(&mut head, name, &**bytes)
            .map_err(|error| RunError::Invalid(format!("`{name}` cannot be packed: {error}")))?;
    }
    let stdin = archive
        .into_inner()
        .map_err(|error| RunError::Invalid(error.to_string()))?;
    Ok(Command {
        program: words(&["tar", "-x", "-f", "-", "-C", WORKING_DIR]),
        stdin,
        ..Command::default()
    })
}

/// The command that packs what comes out; one name that is not there does not spoil the others.
pub(super) fn pack(outputs: &[String]) -> Command {
    let mut program = words(&["tar", "-c", "-f", "-", "-C", WORKING_DIR]);
    // None of them can be taken for an option.
    program.extend(outputs.iter().map(|name| format!("./{name}")));
    Command {
        program,
        ..Command::default()
    }
}

/// The most that is read of an archive.
pub(super) const fn most_packed() -> u64 {
    MOST_BYTES + OVERHEAD
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Takes the files that were asked for out of an archive; `absent` says why one is not in it.
pub(super) fn read(archive: &[u8], absent: &str, outputs: &[String]) -> BTreeMap<String, OutFile> {
    let mut found = BTreeMap::new();
    let mut room = MOST_BYTES;
    let mut tar = tar::Archive::new(archive);
    // What is broken off ends the list; the files behind it are missing.
    for entry in tar.entries().into_iter().flatten().map_while(Result::ok) {
        let Ok(path) = entry.path() else { continue };
        let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
        let Some(name) = outputs.iter().find(|name| Path::new(name) == path) else {
            continue;
        };
        let taken = take(entry, &mut room);
        found.insert(name.clone(), taken);
    }
    for name in outputs {
        let missing = || OutFile::Missing(absent.to_owned());
        found.entry(name.clone()).or_insert_with(missing);
    }
    found
}

fn take(entry: tar::Entry<'_, &[u8]>, room: &mut u64) -> OutFile {
    if !entry.header().entry_type().is_file() {
        return OutFile::Missing("it is no regular file".to_owned());
    }
    let size = entry.size();
    if size > *room {
        return OutFile::Missing(too_much());
    }
    let mut bytes = Vec::new();
    let mut entry = entry.take(size);
    match entry.read_to_end(&mut bytes) {
        Ok(read) if read as u64 == size => {
            *room -= size;
            OutFile::Taken(bytes)
        }
        Ok(_) | Err(_) => OutFile::Missing(too_much()),
    }
}

/// Why a file is not there of which not all came.
pub(super) fn too_much() -> String {
    format!("the files that come out have {MOST_BYTES} bytes together at most")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, kind, bytes) in entries {
            let mut head = tar::Header::new_gnu();
            head.set_entry_type(*kind);
            head.set_size(bytes.len() as u64);
            head.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            head.set_cksum();
            archive.append(&head, *bytes).expect("memory");
        }
        archive.into_inner().expect("memory")
    }

    #[test]
    fn names_stay_below_the_working_directory() {
        for name in ["a", "a/b.txt", "-rf", "a b"] {
            assert!(is_inside(name), "{name}");
        }
        for name in ["", "/a", "../a", "a/../b", "./a", "a/", "a\0", "a\nb", "."] {
            assert!(!is_inside(name), "{name:?}");
        }
    }

    #[test]
    fn of_an_archive_only_the_files_that_were_asked_for_are_taken() {
        use tar::EntryType;
        let bytes = archive(&[
            ("./good", EntryType::Regular, b"bytes"),
            ("./../../etc/passwd", EntryType::Regular, b"evil"),
            ("./other", EntryType::Regular, b"unasked"),
            ("./link", EntryType::Symlink, b""),
        ]);
        let asked = ["good", "link", "gone"].map(str::to_owned);
        let found = read(&bytes, NO_SUCH_FILE, &asked);
        assert_eq!(found.len(), 3);
        assert_eq!(found["good"], OutFile::Taken(b"bytes".to_vec()));
        let why = |name: &str| match &found[name] {
            OutFile::Missing(why) => why.clone(),
            OutFile::Taken(bytes) => panic!("{name} was taken: {bytes:?}"),
        };
        assert!(why("link").contains("no regular file"));
        assert!(why("gone").contains("no such file"));
    }

    #[test]
    fn an_archive_that_breaks_off_or_claims_too_much_gives_no_half_file() {
        let bytes = archive(&[("./a", tar::EntryType::Regular, &[7; 4000])]);
        let asked = ["a".to_owned()];
        for cut in [600, 512, 100, 0] {
            let found = read(&bytes[..cut], "cut", &asked);
            assert!(matches!(found["a"], OutFile::Missing(_)), "{cut}");
        }
        let mut head = tar::Header::new_gnu();
        head.set_size(u64::MAX / 2);
        head.as_mut_bytes()[..1].copy_from_slice(b"a");
        head.set_cksum();
        let found = read(head.as_bytes(), "cut", &asked);
        assert!(matches!(found["a"], OutFile::Missing(_)));
    }
}
