//! The same tests for a supervisor that is not root.

use std::process::Command;

/// What is run again. Names begin with these.
const AGAIN: [&str; 2] = ["alike_sandboxed::", "confined::"];

#[test]
fn an_ordinary_user_has_sandboxes_too() {
    let test = "an_ordinary_user_has_sandboxes_too";
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    if Command::new("runuser").arg("--version").output().is_err() {
        eprintln!("SKIP {test}: there is no runuser");
        return;
    }
    // Where that user can go: not the folder that this program is in.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    super::open_to_all(dir.path());
    let program = dir.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("runuser")
        .args(["-u", "nobody", "--"])
        .arg(&program)
        .args(AGAIN)
        .args(["--skip", test, "--test-threads", "2"])
        .env("TMPDIR", dir.path())
        .env("HOME", dir.path())
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(
        text.contains("passed") && !text.contains(" 0 passed"),
        "{text}"
    );
}
