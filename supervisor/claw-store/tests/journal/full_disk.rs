//! A file system of a few megabytes that is filled and emptied again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use claw_store::{JournalError, Options};
use tempfile::TempDir;

use crate::support::*;

struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// Says why, when there can be none.
    fn mount(options: &str) -> Result<Self, String> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "claw-test"])
            .arg(directory.path())
            .output()
            .map_err(|error| error.to_string())?;
        if mounted.status.success() {
            Ok(Self { directory })
        } else {
            Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("journal.db")
    }

    fn ballast(&self) -> PathBuf {
        self.directory.path().join("ballast")
    }

    fn fill(&self) {
        let file = fs::File::create(self.ballast()).unwrap();
        let mut file = std::io::BufWriter::with_capacity(4096, file);
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
        // What did not fit is not needed.
        drop(file.into_parts());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path: &Path = self.directory.path();
        Command::new("umount").arg("-l").arg(path).status().unwrap();
    }
}

#[test]
fn a_full_disk_refuses_who_waits_keeps_what_has_happened_and_recovers_unaided() {
    let disk = match SmallDisk::mount("size=4m") {
        Ok(disk) => disk,
        Err(reason) => return println!("SKIP full disk: {reason}"),
    };
    let mut bench = Bench::open(&disk.path());
    bench.record(intent("a", 1)).unwrap();
    disk.fill();
    let mut generation = 1;
    let reason = loop {
        generation += 1;
        if let Err(reason) = bench.record(intent("a", generation)) {
            break reason;
        }
        assert!(generation < 5_000, "the disk is never full");
    };
    assert_eq!(reason, "no space left on the journal's disk");
    bench.tell(outcome("a", 1, 0));
    bench.tell(memory("a", 42));

    fs::remove_file(disk.ballast()).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while bench.journal.stats().blocked.is_some() {
        assert!(std::time::Instant::now() < deadline, "does not recover");
        bench.ack_within(Duration::from_millis(50));
    }
    bench.record(intent("a", generation)).unwrap();
    bench.record(slot("a", 0)).unwrap();
    assert_eq!(bench.journal.stats().degraded, None);
    bench.close();

    let bench = Bench::open(&disk.path());
    let memory = &bench.opened.memory[&agent("a")];
    assert_eq!(
        (memory.failures, memory.last_generation.0),
        (42, generation)
    );
    let ended = |row: &claw_store::journal::OpenInstanceRow| row.instance != instance("a", 1);
    assert!(bench.opened.open_instances.iter().all(ended));
    bench.close();
}

#[test]
fn a_full_disk_is_named_when_opening() {
    let disk = match SmallDisk::mount("size=16k") {
        Ok(disk) => disk,
        Err(reason) => return println!("SKIP full disk at start: {reason}"),
    };
    let error = Bench::open_with(&disk.path(), Options::new(BOOT)).err();
    let full = matches!(error, Some(JournalError::DiskFull { .. }));
    assert!(full, "{error:?}");
    assert!(!disk.path().exists());
}

#[test]
fn a_read_only_file_system_is_named_when_opening() {
    let disk = match SmallDisk::mount("size=4m") {
        Ok(disk) => disk,
        Err(reason) => return println!("SKIP read-only file system: {reason}"),
    };
    Bench::open(&disk.path()).close();
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(disk.directory.path())
        .status();
    if !remounted.unwrap().success() {
        return println!("SKIP read-only file system: it is busy");
    }
    let error = Bench::open_with(&disk.path(), Options::new(BOOT)).err();
    let refused = matches!(error, Some(JournalError::NotWritable { .. }));
    assert!(refused, "{error:?}");
}
