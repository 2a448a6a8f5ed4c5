//! The Python SDK that this executable carries, and the interpreter that runs agents of it.
//!
//! The package is unpacked once per content, into `<data_dir>/sdk/python-<hash>/`. Agents that run
//! on keep what they were started with when a newer supervisor unpacks another one beside it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use claw_core::spec::{Launch, Program, Requirements};
use sha2::{Digest, Sha256};

use super::confined;

mod files {
    include!(concat!(env!("OUT_DIR"), "/python_sdk.rs"));
}

/// The oldest interpreter that the SDK runs on.
const OLDEST: (u32, u32) = (3, 10);

/// Prints what has to be known of an interpreter.
const QUESTION: &str = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, sep='\\n')";

/// How long an interpreter may take to say its version: a cold disk or a machine with far too much
/// to do, not a broken one.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Why agents of the SDK cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// There is no interpreter.
    #[error(
        "agents with a `source` need Python 3.10 or newer, and there is no `python3` on the path; install it, or run them with `command`"
    )]
    NoPython,
    /// The interpreter is too old.
    #[error(
        "agents with a `source` need Python 3.10 or newer, and `{}` is {major}.{minor}", path.display()
    )]
    TooOld {
        /// The interpreter.
        path: PathBuf,
        /// Its version.
        major: u32,
        /// Its version.
        minor: u32,
    },
    /// The interpreter does not answer.
    #[error(
        "agents with a `source` need Python 3.10 or newer, and `{}` does not say its version: {detail}; mend it, or put another `python3` before it on the path", path.display()
    )]
    Mute {
        /// The interpreter.
        path: PathBuf,
        /// What it did.
        detail: String,
    },
    /// The package cannot be unpacked.
    #[error("cannot unpack the Python SDK into {}", path.display())]
    Unpack {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A file that a search for the interpreter ends at, told apart from another one in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds since the epoch.
    modified: (i64, i64),
}

/// An unpacked SDK with an interpreter for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sdk {
    found: Found,
    interpreter: Interpreter,
    package: PathBuf,
}

/// An interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The program.
    pub(super) program: PathBuf,
    /// The directories that it and its modules lie in.
    pub(super) prefixes: Vec<PathBuf>,
}

impl Sdk {
    /// Finds an interpreter and unpacks the package. What was prepared before is the answer as long
    /// as the search ends at the same file. Blocks.
    pub(super) async fn prepare(
        data_dir: &Path,
        search: &str,
        before: Option<Self>,
    ) -> Result<Self, SdkError> {
        let found = find(search).ok_or(SdkError::NoPython)?;
        if let Some(before) = before.filter(|before| before.found == found) {
            return Ok(before);
        }
        let interpreter = ask(&found.path, ANSWER_TIME).await?;
        let package = data_dir.join("sdk").join(format!("python-{}", hash()));
        unpack(&package).map_err(|source| SdkError::Unpack {
            path: package.clone(),
            source,
        })?;
        compile(&interpreter.program, &package).await;
        Ok(Self {
            found,
            interpreter,
            package,
        })
    }

    /// Has a program that is run by the SDK find it. Other programs only get it on their path.
    /// Virtual environments are kept in `environments`.
    pub(super) fn prepare_launch(&self, launch: &mut Launch, environments: &Path) {
        confined::share(launch, &self.interpreter, (&self.package, environments));
        match &launch.program {
            Program::Any => {}
            Program::Python(requirements) => {
                let options = options(requirements, environments);
                if let Some(interpreter) = launch.command.first_mut() {
                    *interpreter = self.interpreter.program.to_string_lossy().into_owned();
                }
                let source = launch.command.len().saturating_sub(1);
                launch.command.splice(source..source, options);
            }
        }
        let ours = self.package.to_string_lossy();
        let path = match launch.env.get("PYTHONPATH") {
            Some(theirs) => format!("{ours}:{theirs}"),
            None => ours.into_owned(),
        };
        launch.env.insert("PYTHONPATH".to_owned(), path);
    }
}

/// What the SDK is told of the packages that a source needs.
fn options(requirements: &Requirements, environments: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let wanted = match requirements {
        Requirements::None => return Vec::new(),
        Requirements::File(file) => vec!["--requirements".to_owned(), text(file)],
        Requirements::Lines(lines) => {
            let options = lines
                .iter()
                .map(|line| ["--require".to_owned(), line.clone()]);
            options.flatten().collect()
        }
    };
    let mut options = vec!["--environments".to_owned(), text(environments)];
    options.extend(wanted);
    options
}

fn find(search: &str) -> Option<Found> {
    let mut folders = std::env::split_paths(search);
    folders.find_map(|folder| {
        let path = folder.join("python3");
        let file = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some(Found {
            path,
            device: file.dev(),
            inode: file.ino(),
            modified: (file.mtime(), file.mtime_nsec()),
        })
    })
}

/// The interpreter itself: what is on the path may be a script that looks for it at each start.
async fn ask(path: &Path, limit: Duration) -> Result<Interpreter, SdkError> {
    let mute = |detail: String| SdkError::Mute {
        path: path.to_owned(),
        detail,
    };
    let mut command = tokio::process::Command::new(path);
    command.args(["-c", QUESTION]).kill_on_drop(true);
    let answer = tokio::time::timeout(limit, command.output()).await;
    let answer = answer.map_err(|_elapsed| mute(format!("no answer within {limit:?}")))?;
    let answer = answer.map_err(|error| mute(error.to_string()))?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let mut lines = text.lines();
    let mut number = || lines.next().and_then(|line| line.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (number(), number()) else {
        let said = String::from_utf8_lossy(&answer.stderr);
        let said: String = said.trim().chars().take(200).collect();
        return Err(mute(format!("{}, {said:?}", answer.status)));
    };
    if (major, minor) < OLDEST {
        let path = path.to_owned();
        return Err(SdkError::TooOld { path, major, minor });
    }
    let itself = lines
        .next()
        .map(PathBuf::from)
        .filter(|itself| itself.is_file());
    Ok(Interpreter {
        program: itself.unwrap_or_else(|| path.to_owned()),
        prefixes: lines.map(PathBuf::from).collect(),
    })
}

fn hash() -> String {
    let mut hash = Sha256::new();
    for (name, bytes) in files::FILES {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(bytes);
        hash.update([0]);
    }
    super::token::hex(&hash.finalize()[..8])
}

/// Made beside it and moved there: what is there is whole.
fn unpack(into: &Path) -> io::Result<()> {
    if into.is_dir() {
        return Ok(());
    }
    let fresh = into.with_extension("new");
    match fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    for (name, bytes) in files::FILES {
        let path = fresh.join(name);
        if let Some(agent_dir) = path.parent() {
            fs::create_dir_all(agent_dir)?;
        }
        fs::write(path, bytes)?;
    }
    fs::rename(&fresh, into)
}

/// Agents start faster with compiled modules, and their users may not write them there.
async fn compile(python: &Path, package: &Path) {
    if package.join("openclaw/__pycache__").is_dir() {
        return;
    }
    let mut command: tokio::process::Command = Command::new(python).into();
    command
        .args(["-m", "compileall", "-q"])
        .arg(package)
        .kill_on_drop(true);
    match tokio::time::timeout(ANSWER_TIME, command.output()).await {
        Ok(Ok(_compiled)) => {}
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("the Python SDK is not compiled; agents start slower")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How the one agent of a fleet is launched, whose file and folder these are.
    fn launched(folder: &Path, agent: &str) -> Vec<String> {
        let sdk = Sdk {
            found: Found {
                path: "/usr/bin/python3".into(),
                device: 1,
                inode: 1,
                modified: (0, 0),
            },
            interpreter: Interpreter {
                program: "/usr/bin/python3.12".into(),
                prefixes: vec!["/usr".into()],
            },
            package: "/data/sdk".into(),
        };
        let text = format!("project: t\nversion: '1.0'\nagents:\n  a: {{{agent}}}\n");
        let environment = crate::config::Environment::with([]);
        let loaded = crate::config::load_str(&text, &folder.join("openclaw.yaml"), &environment);
        let mut launch = loaded.unwrap().fleet.agents["a"].launch.clone();
        sdk.prepare_launch(&mut launch, Path::new("/data/environments"));
        assert_eq!(launch.env["PYTHONPATH"], "/data/sdk");
        launch.command
    }

    #[test]
    fn a_source_is_run_with_what_it_requires_and_a_command_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        for name in ["a.py", "r.txt"] {
            fs::write(of(name), "").unwrap();
        }
        let run = ["/usr/bin/python3.12", "-m", "openclaw", "run"];
        let (source, file) = (of("a.py"), of("r.txt"));
        let into = ["--environments", "/data/environments"];
        let table: [(&str, &[&str]); 3] = [
            ("source: a.py", &[]),
            (
                "source: a.py, python: {requirements: r.txt}",
                &["--requirements", &file],
            ),
            (
                "source: a.py, python: {requirements: [--no-index, b]}",
                &["--require", "--no-index", "--require", "b"],
            ),
        ];
        for (agent, wanted) in table {
            let into = into.iter().filter(|_| !wanted.is_empty());
            let words = run.iter().chain(into).chain(wanted);
            let words: Vec<_> = words.copied().chain([source.as_str()]).collect();
            assert_eq!(launched(folder.path(), agent), words);
        }
        let own = "command: [python3, -m, openclaw, run, --require, b], mode: worker";
        let words = ["python3", "-m", "openclaw", "run", "--require", "b"];
        assert_eq!(launched(folder.path(), own), words);
    }

    #[test]
    fn the_package_is_whole() {
        let names: Vec<_> = files::FILES.iter().map(|(name, _)| *name).collect();
        for name in [
            "openclaw/__main__.py",
            "openclaw/__init__.py",
            "openclaw/py.typed",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }

    /// Puts a script into a folder as its `python3`, in place of what is there.
    fn install(folder: &Path, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let fresh = folder.join("fresh");
        fs::write(&fresh, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&fresh, folder.join("python3")).unwrap();
    }

    async fn prepare(folder: &Path, before: Option<Sdk>) -> Result<Sdk, SdkError> {
        Sdk::prepare(folder, &folder.to_string_lossy(), before).await
    }

    #[tokio::test]
    async fn an_interpreter_that_is_too_old_or_none_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let none = prepare(dir.path(), None).await.unwrap_err();
        assert!(none.to_string().contains("there is no `python3`"), "{none}");
        install(dir.path(), "printf '3\\n9\\n%s\\n' \"$0\"");
        let refused = prepare(dir.path(), None).await.unwrap_err();
        assert!(refused.to_string().ends_with("is 3.9"), "{refused}");
        install(dir.path(), "echo no library >&2; exit 3");
        let mute = prepare(dir.path(), None).await.unwrap_err();
        let wanted = "does not say its version: exit status: 3, \"no library\"; mend it";
        assert!(mute.to_string().contains(wanted), "{mute}");
    }

    #[tokio::test]
    async fn a_slow_interpreter_is_waited_for_and_asked_once() {
        // It is asked by `-c`; whatever else is wanted of it is to compile the package.
        const SLOW: &str = r#"
[ "$1" = -c ] || exit 0
sleep 1
echo asked >> "${0%/*}/asked"
printf '3\n12\n%s\n' "$0""#;
        let dir = tempfile::tempdir().unwrap();
        let times_asked = || {
            let asked = fs::read_to_string(dir.path().join("asked")).unwrap();
            asked.lines().count()
        };
        install(dir.path(), SLOW);
        let first = prepare(dir.path(), None).await.unwrap();
        assert_eq!(first.interpreter.program, dir.path().join("python3"));
        let second = prepare(dir.path(), Some(first.clone())).await.unwrap();
        assert_eq!((&second, times_asked()), (&first, 1));
        install(dir.path(), SLOW);
        let third = prepare(dir.path(), Some(second)).await.unwrap();
        assert_ne!(third.found, first.found);
        assert_eq!(times_asked(), 2);
    }

    #[tokio::test]
    async fn an_interpreter_that_says_nothing_is_told_with_the_time_it_had() {
        let dir = tempfile::tempdir().unwrap();
        install(dir.path(), "exec sleep 600");
        let path = dir.path().join("python3");
        let mute = ask(&path, Duration::from_millis(50)).await.unwrap_err();
        let wanted = "does not say its version: no answer within 50ms";
        assert!(mute.to_string().contains(wanted), "{mute}");
    }
}
