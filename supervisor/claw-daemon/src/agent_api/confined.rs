//! What an agent of the Python SDK has to see that is in a sandbox, beside what its file says: the
//! interpreter and its modules, the SDK, its source, and the packages that it installs.

use std::path::{Path, PathBuf};

use claw_core::spec::container::Exec;
use claw_core::spec::sandbox::Writable;
use claw_core::spec::{Launch, Program, Requirements};

use super::sdk::Interpreter;

/// What every sandbox has.
const SYSTEM: &str = "/usr";

/// Lets the process of a launch see what the SDK needs, if it is in a sandbox. `package` is the
/// SDK, and virtual environments are made in `environments`.
pub(super) fn share(
    launch: &mut Launch,
    interpreter: &Interpreter,
    (package, environments): (&Path, &Path),
) {
    let Some(sandbox) = &mut launch.sandbox else {
        return;
    };
    let mut seen = vec![package.to_owned()];
    seen.extend(modules(launch.env.get("PYTHONPATH")));
    match &launch.program {
        Program::Any => {}
        Program::Python(requirements) => {
            seen.extend(files_of(interpreter));
            seen.extend(launch.command.last().and_then(|source| folder(source)));
            match requirements {
                Requirements::File(file) => seen.push(file.clone()),
                Requirements::None | Requirements::Lines(_) => {}
            }
        }
    }
    for path in seen {
        let known = sandbox.readable.iter();
        let mut known = known.chain(sandbox.writable.iter().map(|one| &one.path));
        if !path.starts_with(SYSTEM) && !known.any(|known| path.starts_with(known)) {
            sandbox.readable.push(path);
        }
    }
    if launch.program.own_packages().is_some() {
        sandbox.writable.push(Writable {
            path: environments.to_owned(),
            size: None,
            exec: Exec::Allowed,
        });
    }
}

/// The directories of an interpreter, and itself where it lies in none of them.
fn files_of(interpreter: &Interpreter) -> Vec<PathBuf> {
    let mut files = interpreter.prefixes.clone();
    let program = &interpreter.program;
    // What is named is often a link into another installation.
    let real = program.canonicalize();
    for path in [program.clone(), real.unwrap_or_else(|_| program.clone())] {
        if !files.iter().any(|known| path.starts_with(known)) {
            files.push(path);
        }
    }
    files
}

/// Directories of modules that the agent names itself.
fn modules(path: Option<&String>) -> Vec<PathBuf> {
    let Some(path) = path else {
        return Vec::new();
    };
    let folders = std::env::split_paths(path);
    folders
        .filter(|folder| folder.is_absolute() && folder.exists())
        .collect()
}

/// The folder of `FILE[:CLASS]`: a source imports what lies beside it.
fn folder(source: &str) -> Option<PathBuf> {
    let file = match source.rsplit_once(':') {
        Some((file, class)) if !class.contains('/') => file,
        Some(_) | None => source,
    };
    Path::new(file).parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The launch of the one agent of a fleet in `folder`.
    fn launch(folder: &Path, agent: &str) -> Launch {
        let text = format!("project: t\nversion: '1.0'\nagents:\n  a: {{{agent}}}\n");
        let environment = crate::config::Environment::with([]);
        let loaded = crate::config::load_str(&text, &folder.join("openclaw.yaml"), &environment);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        loaded.fleet.agents["a"].launch.clone()
    }

    fn shared(folder: &Path, agent: &str) -> Launch {
        let mut launch = launch(folder, agent);
        let interpreter = Interpreter {
            program: "/opt/python/bin/python3".into(),
            prefixes: ["/srv/venv", "/srv/venv", "/usr", "/opt/python"]
                .map(PathBuf::from)
                .to_vec(),
        };
        let package = (Path::new("/data/sdk"), Path::new("/data/environments"));
        share(&mut launch, &interpreter, package);
        launch
    }

    #[test]
    fn an_agent_of_the_sdk_sees_what_it_is_made_of_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("agents")).unwrap();
        for name in ["agents/a.py", "r.txt"] {
            std::fs::write(at(name), "").unwrap();
        }
        let sandbox = "sandbox: {mode: process}";
        let plain = shared(dir.path(), &format!("source: agents/a.py:Main, {sandbox}"));
        let made = plain.sandbox.unwrap();
        let wanted = ["/data/sdk", "/srv/venv", "/opt/python"].map(PathBuf::from);
        let wanted: Vec<_> = wanted.into_iter().chain([at("agents")]).collect();
        assert_eq!((made.readable, made.writable), (wanted, Vec::new()));

        let packages = "source: agents/a.py, python: {requirements: r.txt}";
        let made = shared(dir.path(), &format!("{packages}, {sandbox}")).sandbox;
        let made = made.unwrap();
        assert!(made.readable.contains(&at("r.txt")));
        let [environments] = made.writable.as_slice() else {
            panic!("{:?}", made.writable)
        };
        assert_eq!(environments.path, Path::new("/data/environments"));
        assert_eq!(environments.exec, Exec::Allowed);

        let known = format!("source: agents/a.py, sandbox: {{readable: [{}]}}", "agents");
        let made = shared(dir.path(), &known).sandbox.unwrap();
        let folders = made.readable.iter().filter(|path| **path == at("agents"));
        assert_eq!(folders.count(), 1);
    }

    #[test]
    fn another_program_sees_the_sdk_alone_and_one_without_sandbox_nothing_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let worker =
            format!("command: run, mode: worker, env: {{PYTHONPATH: \"{path}:/not/there\"}}");
        let made = shared(dir.path(), &format!("{worker}, sandbox: {{mode: process}}"));
        let wanted = [PathBuf::from("/data/sdk"), dir.path().to_owned()];
        assert_eq!(made.sandbox.unwrap().readable, wanted);
        let open = format!("{worker}, sandbox: {{mode: none}}");
        let plain = launch(dir.path(), &open);
        assert_eq!(shared(dir.path(), &open), plain);
    }
}
