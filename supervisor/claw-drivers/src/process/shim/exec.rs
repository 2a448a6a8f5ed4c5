//! Finding and executing a program, and saying in words why it cannot be.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use claw_core::{SpawnError, SpawnStage};
use nix::errno::Errno;

use crate::process::descriptors::close_on_exec;
use crate::process::wire::Program;

/// Where programs are looked for when the agent has no `PATH`.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest `#!` line the kernel reads.
const SHEBANG_LIMIT: u64 = 256;

/// Executes the program; returns only if that fails. The search goes through the agent's own
/// `PATH`, in the agent's working directory, as the agent's user.
pub(super) fn execute(program: &Program) -> SpawnError {
    let Some(name) = program.command.first() else {
        return refusal(Errno::EINVAL, "the command is empty".to_owned());
    };
    let Some(arguments) = c_strings(&program.command) else {
        return refusal(
            Errno::EINVAL,
            format!("cannot execute `{name}`: an argument holds a zero byte"),
        );
    };
    let Some(environment) = c_strings(&program.env) else {
        return refusal(
            Errno::EINVAL,
            format!("cannot execute `{name}`: a variable holds a zero byte"),
        );
    };
    close_on_exec();
    let path = path_of(program);
    let mut denied = None;
    for candidate in candidates(name, path) {
        let Ok(file) = CString::new(candidate.as_os_str().as_encoded_bytes()) else {
            continue;
        };
        let Err(errno) = nix::unistd::execve(&file, &arguments, &environment);
        let missing = matches!(errno, Errno::ENOENT | Errno::ENOTDIR) && !candidate.exists();
        if errno == Errno::EACCES {
            denied = Some(candidate);
        } else if !missing {
            return refusal(errno, explain(name, &candidate, errno));
        }
    }
    match denied {
        Some(file) => refusal(Errno::EACCES, explain(name, &file, Errno::EACCES)),
        None if name.contains('/') => refusal(
            Errno::ENOENT,
            format!("cannot execute `{name}`: no such file"),
        ),
        None => refusal(
            Errno::ENOENT,
            format!(
                "cannot execute `{name}`: no such file or directory (not found in PATH {path})"
            ),
        ),
    }
}

fn path_of(program: &Program) -> &str {
    let set = program
        .env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="));
    set.unwrap_or(DEFAULT_PATH)
}

fn candidates(name: &str, path: &str) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    path.split(':')
        .map(|dir| {
            if dir.is_empty() {
                Path::new(".")
            } else {
                Path::new(dir)
            }
        })
        .map(|dir| dir.join(name))
        .collect()
}

fn c_strings(texts: &[String]) -> Option<Vec<CString>> {
    texts
        .iter()
        .map(|text| CString::new(text.as_str()).ok())
        .collect()
}

fn refusal(errno: Errno, detail: String) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Exec,
        errno: errno as i32,
        detail,
    }
}

fn explain(name: &str, file: &Path, errno: Errno) -> String {
    let why = if errno == Errno::ENOENT {
        match interpreter(file) {
            Some(interpreter) => format!("its interpreter `{interpreter}` does not exist"),
            None => "the loader it asks for does not exist".to_owned(),
        }
    } else if errno == Errno::ENOEXEC {
        "it is neither a program of this machine nor a script with `#!`".to_owned()
    } else if errno == Errno::EACCES && file.is_dir() {
        "it is a directory".to_owned()
    } else {
        lower(errno.desc())
    };
    if Path::new(name) == file {
        format!("cannot execute `{name}`: {why}")
    } else {
        format!("cannot execute `{name}` ({}): {why}", file.display())
    }
}

fn interpreter(file: &Path) -> Option<String> {
    let mut line = String::new();
    BufReader::new(File::open(file).ok()?.take(SHEBANG_LIMIT))
        .read_line(&mut line)
        .ok()?;
    let rest = line.strip_prefix("#!")?.trim();
    rest.split_ascii_whitespace().next().map(str::to_owned)
}

/// The system's words for an error, as part of a sentence.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => lower(Errno::from_raw(number).desc()),
        None => error.to_string(),
    }
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    let second_is_lower = text
        .chars()
        .nth(1)
        .is_none_or(|letter| !letter.is_uppercase());
    match letters.next() {
        Some(first) if second_is_lower => first.to_lowercase().chain(letters).collect(),
        Some(_) | None => text.to_owned(),
    }
}
