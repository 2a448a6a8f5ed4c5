//! Lists the files of the Python SDK, so that the executable carries them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let package = here
        .join("../../agent-sdk/python/openclaw")
        .canonicalize()?;
    println!("cargo::rerun-if-changed={}", package.display());
    let mut files = BTreeMap::new();
    collect(&package, "openclaw", &mut files)?;
    let mut code = String::from("/// The files of the package by their path in it.\n");
    code.push_str("pub(super) static FILES: &[(&str, &[u8])] = &[\n");
    for (name, path) in &files {
        writeln!(code, "    ({name:?}, include_bytes!({path:?})),").expect("a String takes it");
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("python_sdk.rs"), code)
}

/// Sources, and the marker that they are typed; caches of an interpreter are left out.
fn collect(dir: &Path, name: &str, into: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = format!("{name}/{file}");
        if path.is_dir() {
            if file != "__pycache__" {
                println!("cargo::rerun-if-changed={}", path.display());
                collect(&path, &name, into)?;
            }
        } else if file == "py.typed" || path.extension().is_some_and(|ending| ending == "py") {
            println!("cargo::rerun-if-changed={}", path.display());
            into.insert(name, path);
        }
    }
    Ok(())
}
