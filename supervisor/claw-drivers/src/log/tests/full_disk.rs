//! A full file system, on a small tmpfs. Needs the right to mount.

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::*;

const OUT: Stream = Stream::Stdout;

/// A file system of 256 KiB, unmounted when dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, with a word on standard error, where mounting is not allowed.
    fn mount(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = Some("size=256k");
        match mount(
            Some("tmpfs"),
            dir.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            options,
        ) {
            Ok(()) => Some(Self { dir }),
            Err(errno) => {
                eprintln!("SKIP {test}: cannot mount a tmpfs: {errno}");
                None
            }
        }
    }

    /// Fills all but about `left` bytes; deleting the file makes room again.
    fn fill(&self, left: usize) -> PathBuf {
        let path = self.dir.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let len = file.metadata().unwrap().len();
        file.set_len(len - left as u64).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(self.dir.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

fn writer_on(disk: &SmallDisk, on_full: OnFull, now: Stamp) -> LogWriter {
    LogWriter::open(
        disk.dir.path().join("log"),
        LogPolicy {
            on_full,
            ..policy(1 << 20, 3)
        },
        now,
    )
}

fn reader_on(disk: &SmallDisk) -> LogReader {
    LogReader::open(disk.dir.path().join("log"))
}

#[test]
fn on_a_full_disk_drop_goes_on_reading_and_leaves_one_marker() {
    let Some(disk) = SmallDisk::mount("on_a_full_disk_drop_goes_on_reading_and_leaves_one_marker")
    else {
        return;
    };
    let mut now = Stamp::now();
    let mut writer = writer_on(&disk, OnFull::Drop, now);
    let (reading, mut writing) = pipe();
    let mut print = |writer: &mut LogWriter, text: &str, now| {
        writing.write_all(text.as_bytes()).unwrap();
        while let Pumped::Read(1..) = writer.pump(OUT, reading.as_fd(), now) {}
    };
    print(&mut writer, "before\n", now);
    let ballast = disk.fill(8192);
    for _ in 0..5 {
        print(&mut writer, &"a line that does not fit\n".repeat(1000), now);
        now.mono += Duration::from_millis(100);
    }
    assert!(writer.wants());
    assert_eq!(
        writer.failure().unwrap().to_string(),
        "no space left on device"
    );
    let stats = writer.stats();
    assert_eq!(stats.bytes + stats.dropped_bytes, 7 + 5 * 25_000);
    std::fs::remove_file(ballast).unwrap();
    now.mono = writer.deadline().unwrap();
    print(&mut writer, "after\n", now);
    assert_eq!(writer.failure(), None);
    let shown = texts(&lines_of(&reader_on(&disk), &LogQuery::default()));
    let marker = format!(
        "sup:[clawctl: {} bytes ({} lines) of output were dropped: no space left on device]",
        stats.dropped_bytes, stats.dropped_lines
    );
    let markers = shown
        .iter()
        .filter(|line| line.starts_with("sup:"))
        .collect::<Vec<_>>();
    assert_eq!(markers, [&marker]);
    assert_eq!(shown[0], "out:before");
    assert_eq!(shown.last().unwrap(), "out:after");
    let cut_line = &shown[shown.len() - 3..shown.len() - 2][0];
    assert!(
        "out:a line that does not fit…".starts_with(cut_line.trim_end_matches('…')),
        "{cut_line}"
    );
}

#[test]
fn on_a_full_disk_block_stops_reading_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("on_a_full_disk_block_stops_reading_and_loses_nothing")
    else {
        return;
    };
    let mut now = Stamp::now();
    let mut writer = writer_on(&disk, OnFull::Block, now);
    let (reading, mut writing) = pipe();
    let ballast = disk.fill(8192);
    let text: String = (0..10_000).map(|i| format!("line {i}\n")).collect();
    writing.write_all(text.as_bytes()).unwrap();
    drop(writing);
    assert!(matches!(
        writer.pump(OUT, reading.as_fd(), now),
        Pumped::Read(1..)
    ));
    assert!(!writer.wants());
    assert_eq!(writer.pump(OUT, reading.as_fd(), now), Pumped::Waiting);
    for _ in 0..3 {
        now.mono = writer.deadline().unwrap();
        writer.on_deadline(now);
        assert!(!writer.wants());
    }
    std::fs::remove_file(ballast).unwrap();
    now.mono = writer.deadline().unwrap();
    writer.on_deadline(now);
    assert!(writer.wants());
    writer.finish(&[(OUT, reading.as_fd())], now);
    let expected = LogStats {
        bytes: text.len() as u64,
        ..LogStats::default()
    };
    assert_eq!(writer.stats(), expected);
    let lines = lines_of(&reader_on(&disk), &LogQuery::default());
    let read: String = lines
        .iter()
        .map(|line| format!("{}\n", line.text_lossy()))
        .collect();
    assert!(read == text);
}

#[test]
fn at_the_end_block_does_not_wait_for_a_full_disk() {
    let Some(disk) = SmallDisk::mount("at_the_end_block_does_not_wait_for_a_full_disk") else {
        return;
    };
    let now = Stamp::now();
    let mut writer = writer_on(&disk, OnFull::Block, now);
    let (reading, mut writing) = pipe();
    disk.fill(0);
    writing
        .write_all("lost\n".repeat(100_000).as_bytes())
        .unwrap();
    drop(writing);
    writer.pump(OUT, reading.as_fd(), now);
    writer.finish(&[(OUT, reading.as_fd())], now);
    let stats = writer.stats();
    assert_eq!(stats.bytes + stats.dropped_bytes, 500_000);
    assert!(stats.dropped_lines > 0);
}

#[test]
fn rotation_makes_its_own_room_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount("rotation_makes_its_own_room_on_a_full_disk") else {
        return;
    };
    let now = Stamp::now();
    let small = policy(16 << 10, 2);
    let mut writer = LogWriter::open(disk.dir.path().join("log"), small, now);
    let (reading, mut writing) = pipe();
    let mut print = |writer: &mut LogWriter, now| {
        writing
            .write_all("0123456789abcde\n".repeat(1024).as_bytes())
            .unwrap();
        while let Pumped::Read(1..) = writer.pump(OUT, reading.as_fd(), now) {}
    };
    for _ in 0..3 {
        print(&mut writer, now);
    }
    disk.fill(4096);
    for _ in 0..20 {
        print(&mut writer, now);
    }
    assert_eq!(writer.stats().dropped_bytes, 0);
}
