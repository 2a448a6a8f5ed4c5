//! What an agent does not see although it lies in what it sees.

use std::fs;
use std::path::{Path, PathBuf};

/// Those that are there, without symbolic links in them.
pub(super) fn existing(hidden: &[PathBuf]) -> Vec<PathBuf> {
    let there = hidden.iter().filter_map(|path| path.canonicalize().ok());
    there.collect()
}

/// Whether something hidden lies between a directory and what is in it, or is the latter.
pub(super) fn between(hidden: &[PathBuf], dir: &Path, path: &Path) -> bool {
    hidden
        .iter()
        .any(|one| path.starts_with(one) && one.starts_with(dir) && one != dir)
}

/// A path in pieces that together are all of it but what is hidden. Rules about files hold for
/// whole directories, so one with something hidden in it is given by what else is in it now. Links
/// in it are not: an agent may have made them, and what they lead to was not given.
pub(super) fn around(hidden: &[PathBuf], path: PathBuf) -> Vec<PathBuf> {
    if hidden.contains(&path) {
        return Vec::new();
    }
    if !hidden.iter().any(|one| one.starts_with(&path)) {
        return vec![path];
    }
    let entries = fs::read_dir(&path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        .flat_map(|entry| around(hidden, entry.path()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_left_out_and_all_else_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        for name in ["a/b", "a/c", "d"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        fs::write(base.join("a/secret"), "").unwrap();
        std::os::unix::fs::symlink("/", base.join("planted")).unwrap();
        let hidden = existing(&[base.join("a/secret"), base.join("d"), base.join("none")]);
        assert_eq!(hidden.len(), 2);
        let mut shown = around(&hidden, base.clone());
        shown.sort();
        assert_eq!(shown, [base.join("a/b"), base.join("a/c")]);
        assert_eq!(around(&hidden, base.join("d")), Vec::<PathBuf>::new());
        assert!(between(&hidden, &base, &base.join("d/deep")));
        assert!(!between(&hidden, &base.join("d"), &base.join("d/deep")));
        assert!(!between(&hidden, &base, &base.join("a/b")));
    }
}
