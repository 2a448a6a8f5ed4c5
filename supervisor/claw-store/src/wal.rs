//! What a failed sync leaves of a write-ahead log, and how it is made good.
//!
//! Linux marks pages clean whose writing failed, so a second sync of the log proves nothing for
//! them. They are written once more instead, elsewhere: every frame whose checksum shows that it is
//! still what was written goes into the database, and the database is synced. A frame that is not
//! any more ends the attempt before anything is moved.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rusqlite::Connection;

use crate::journal::{Checkpointed, checkpoint};

/// Sizes of the format (<https://www.sqlite.org/fileformat2.html#walformat>), in bytes.
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Where the numbers are big-endian that checksums are made of; all others are so anyway.
const BIG_ENDIAN: u32 = 0x377f_0683;
const LITTLE_ENDIAN: u32 = 0x377f_0682;

/// No page is larger.
const LARGEST_PAGE: u32 = 65_536;

/// Moves a log into the database whose sync has failed, and syncs that.
///
/// # Errors
///
/// The disk still refuses, somebody reads an older state, or the log is not what was written; it
/// may be tried again.
pub(crate) fn move_over(
    wal: &File,
    conn: &Connection,
    fdatasync: &mut dyn FnMut(&File) -> io::Result<()>,
) -> Result<(), String> {
    let failed = |error: rusqlite::Error| error.to_string();
    let committed = look(conn)?.in_log;
    let sound = sound_frames(wal).map_err(|error| error.to_string())?;
    if sound < committed {
        return Err(format!(
            "{sound} of the {committed} pages in its log are what was written"
        ));
    }
    fdatasync(wal).map_err(|error| error.to_string())?;
    match checkpoint(conn, "PASSIVE").map_err(failed)? {
        Some(found) if found.in_log == found.moved => Ok(()),
        Some(_) | None => Err("somebody reads what its log holds".to_owned()),
    }
}

/// The length of the log, without touching it
/// (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>).
fn look(conn: &Connection) -> Result<Checkpointed, String> {
    let found = checkpoint(conn, "NOOP").map_err(|error| error.to_string())?;
    found.ok_or_else(|| "its log is being moved".to_owned())
}

/// How many frames of the log are what was written, from its beginning to the last that ends a
/// transaction.
fn sound_frames(wal: &File) -> io::Result<u64> {
    let mut header = [0; HEADER];
    if !read_whole(wal, &mut header, 0)? {
        return Ok(0);
    }
    let word = |place: usize| number(&header[place..]);
    let order = match word(0) {
        BIG_ENDIAN => u32::from_be_bytes,
        LITTLE_ENDIAN => u32::from_le_bytes,
        _ => return Ok(0),
    };
    let (page, salts) = (word(8), &header[16..24]);
    let mut sums = summed(order, (0, 0), &header[..24]);
    if page > LARGEST_PAGE || sums != (word(24), word(28)) {
        return Ok(0);
    }
    let mut frame = vec![0; FRAME_HEADER + page as usize];
    let (mut frames, mut sound, mut place) = (0, 0, HEADER as u64);
    while read_whole(wal, &mut frame, place)? {
        let word = |place: usize| number(&frame[place..]);
        sums = summed(order, sums, &frame[..8]);
        sums = summed(order, sums, &frame[FRAME_HEADER..]);
        if frame[8..16] != *salts || sums != (word(16), word(20)) {
            break;
        }
        frames += 1;
        place += frame.len() as u64;
        let ends_transaction = word(4) != 0;
        if ends_transaction {
            sound = frames;
        }
    }
    Ok(sound)
}

/// Reads as much as there is room for; `false` where the file ends before.
fn read_whole(file: &File, into: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(into, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn number(bytes: &[u8]) -> u32 {
    let (first, _) = bytes.split_first_chunk().unwrap_or((&[0; 4], &[]));
    u32::from_be_bytes(*first)
}

/// The checksum of the format, carried on over more bytes.
fn summed(order: fn([u8; 4]) -> u32, sums: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let words = bytes.as_chunks::<4>().0.iter().map(|word| order(*word));
    let (mut first, mut second) = sums;
    for (nth, word) in words.enumerate() {
        let (to, other) = if nth % 2 == 0 {
            (&mut first, second)
        } else {
            (&mut second, first)
        };
        *to = to.wrapping_add(word).wrapping_add(other);
    }
    (first, second)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use super::*;

    /// A database whose log holds some transactions of several pages each.
    fn filled(path: &Path) -> (Connection, File) {
        let conn = Connection::open(path).unwrap();
        let begin = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (b)";
        conn.execute_batch(begin).unwrap();
        for _ in 0..5 {
            conn.execute("INSERT INTO t VALUES (zeroblob(20000))", [])
                .unwrap();
        }
        let log = path.with_extension("db-wal");
        let wal = OpenOptions::new().read(true).write(true).open(log).unwrap();
        (conn, wal)
    }

    fn flip(wal: &File, at: u64) {
        let mut byte = [0];
        wal.read_exact_at(&mut byte, at).unwrap();
        wal.write_all_at(&[!byte[0]], at).unwrap();
    }

    #[test]
    fn a_whole_log_is_sound_to_its_last_transaction() {
        let directory = tempfile::tempdir().unwrap();
        let (conn, wal) = filled(&directory.path().join("log.db"));
        let committed = look(&conn).unwrap().in_log;
        assert!(committed > 25);
        assert_eq!(sound_frames(&wal).unwrap(), committed);
        // What an earlier round of the log has left behind its end belongs to no transaction.
        checkpoint(&conn, "RESTART").unwrap();
        conn.execute("INSERT INTO t VALUES (1)", []).unwrap();
        let committed = look(&conn).unwrap().in_log;
        assert!((1..10).contains(&committed));
        assert_eq!(sound_frames(&wal).unwrap(), committed);
    }

    #[test]
    fn a_log_is_sound_up_to_the_transaction_before_a_flipped_bit() {
        let directory = tempfile::tempdir().unwrap();
        let (conn, wal) = filled(&directory.path().join("log.db"));
        let length = wal.metadata().unwrap().len();
        flip(&wal, length - 1);
        let before = look(&conn).unwrap().in_log;
        let sound = sound_frames(&wal).unwrap();
        assert!(sound < before && sound > before - 10, "{sound} of {before}");
        flip(&wal, 20);
        assert_eq!(sound_frames(&wal).unwrap(), 0);
    }

    #[test]
    fn nothing_is_moved_of_a_log_that_is_not_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let (conn, wal) = filled(&directory.path().join("log.db"));
        flip(&wal, 10_000);
        let mut works = |_: &File| Ok(());
        let refused = move_over(&wal, &conn, &mut works).unwrap_err();
        assert!(refused.contains("what was written"), "{refused}");
        assert_eq!(look(&conn).unwrap().moved, 0);
        flip(&wal, 10_000);
        let mut fails = |_: &File| Err(io::Error::from_raw_os_error(5));
        move_over(&wal, &conn, &mut fails).unwrap_err();
        assert_eq!(look(&conn).unwrap().moved, 0);
        move_over(&wal, &conn, &mut works).unwrap();
        let after = look(&conn).unwrap();
        assert_eq!(after.moved, after.in_log);
    }
}
