//! Images, without mounting them.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::image::{self, Age, Image};
use super::superblock::{self, State};
use super::{Disk, file_name};

const MIB: u64 = 1 << 20;

fn disk(dir: &TempDir, size: u64) -> Disk {
    let owner = rustix::process::geteuid().as_raw();
    Disk::new(
        &dir.path().join("work"),
        &dir.path().join("disks"),
        size,
        (owner, owner),
    )
}

/// Makes the image at a size, and says what came of it.
fn opened(disk: &Disk) -> Result<(std::fs::File, Age), String> {
    match Image::open(disk) {
        Ok(Image::Free(file, age)) => Ok((file, age)),
        Ok(Image::Used(_)) => Err("used".to_owned()),
        Err(fault) => Err(fault.into_spawn_error().detail),
    }
}

fn missing(test: &str) -> bool {
    let missing = image::find_programs().err();
    if let Some(name) = missing {
        eprintln!("SKIP {test}: there is no {name}");
    }
    missing.is_some()
}

fn debugfs(disk: &Disk, request: &str) {
    let output = Command::new("/usr/sbin/debugfs")
        .args(["-w", "-R", request])
        .arg(&disk.image)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_image_keeps_its_name_when_its_project_is_moved() {
    let name = |project: &str| {
        let project = PathBuf::from(project);
        let disks = project.join(".openclaw/agents/coder/disks");
        file_name(&project.join("work"), &disks)
    };
    assert_eq!(name("/srv/fleet"), name("/home/me/elsewhere"));
    let disks = PathBuf::from("/srv/fleet/.openclaw/agents/coder/disks");
    let names = [
        "/srv/fleet/work",
        "/srv/fleet/a/work",
        "/srv/work",
        "/srv/fleet/wörk",
    ];
    let names = names.map(|path| file_name(&PathBuf::from(path), &disks));
    let different: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(different.len(), names.len());
    assert!(
        names[3].starts_with("wrk-") && names[3].ends_with(".ext4"),
        "{names:?}"
    );
}

#[test]
fn an_image_is_made_once_and_grows() {
    if missing("an_image_is_made_once_and_grows") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (file, age) = opened(&disk(&dir, 8 * MIB)).unwrap();
    let first = superblock::read(&file).unwrap().unwrap();
    assert_eq!(
        (age, first.size, first.state),
        (Age::New, 8 * MIB, State::Clean)
    );
    drop(file);
    let (file, age) = opened(&disk(&dir, 8 * MIB)).unwrap();
    assert_eq!(age, Age::Old);
    drop(file);
    let (file, _) = opened(&disk(&dir, 300 * MIB)).unwrap();
    let grown = superblock::read(&file).unwrap().unwrap();
    assert_eq!(grown.size, 300 * MIB);
    let length = file.metadata().unwrap().len();
    assert_eq!(length, 300 * MIB);
    drop(file);
    let refused = opened(&disk(&dir, 16 * MIB)).unwrap_err();
    let wanted = "cannot have a `size` of 16777216 bytes: it has 314572800 already, and is never \
                  made smaller";
    assert!(refused.contains(wanted), "{refused}");
}

#[test]
fn growth_that_was_cut_short_is_made_up_for() {
    if missing("growth_that_was_cut_short_is_made_up_for") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (file, _) = opened(&disk(&dir, 8 * MIB)).unwrap();
    file.set_len(64 * MIB).unwrap();
    drop(file);
    let (file, _) = opened(&disk(&dir, 64 * MIB)).unwrap();
    assert_eq!(superblock::read(&file).unwrap().unwrap().size, 64 * MIB);
}

#[test]
fn an_image_in_use_is_left_alone() {
    if missing("an_image_in_use_is_left_alone") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (file, _) = opened(&disk(&dir, 8 * MIB)).unwrap();
    assert_eq!(opened(&disk(&dir, 64 * MIB)).unwrap_err(), "used");
    assert_eq!(file.metadata().unwrap().len(), 8 * MIB);
}

#[test]
fn a_dirty_image_is_mended_and_a_broken_one_refused() {
    if missing("a_dirty_image_is_mended_and_a_broken_one_refused") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(&dir, 8 * MIB);
    drop(opened(&disk).unwrap());
    debugfs(&disk, "set_super_value state 0");
    let (file, _) = opened(&disk).unwrap();
    let state = superblock::read(&file).unwrap().unwrap().state;
    assert_eq!(state, State::Clean);
    drop(file);
    debugfs(&disk, "clri <2>");
    debugfs(&disk, "set_super_value state 0");
    let refused = opened(&disk).unwrap_err();
    assert!(refused.contains("is damaged: e2fsck says: "), "{refused}");
    let advice = format!("run `e2fsck -y {}`", disk.image.display());
    assert!(refused.contains(&advice), "{refused}");
}

#[test]
fn what_is_no_image_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(&dir, 8 * MIB);
    std::fs::create_dir_all(disk.image.parent().unwrap()).unwrap();
    for length in [3, 4096, 65_536] {
        std::fs::write(&disk.image, vec![7; length]).unwrap();
        let refused = opened(&disk).unwrap_err();
        assert!(
            refused.contains("holds no file system: move that file away"),
            "{refused}"
        );
        assert_eq!(std::fs::read(&disk.image).unwrap().len(), length);
    }
    std::fs::remove_file(&disk.image).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &disk.image).unwrap();
    let refused = opened(&disk).unwrap_err();
    assert!(refused.contains("cannot open the image"), "{refused}");
}

#[test]
fn numbers_that_make_no_sense_are_no_file_system() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(4096).unwrap();
    file.write_all_at(&0xef53_u16.to_le_bytes(), 1024 + 56)
        .unwrap();
    file.write_all_at(&[0xff; 4], 1024 + 24).unwrap();
    assert_eq!(superblock::read(&file).unwrap(), None);
}
