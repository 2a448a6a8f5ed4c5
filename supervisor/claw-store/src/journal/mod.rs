//! The journal: what the supervisor must know after its own death, in one SQLite file.
//!
//! ```text
//!  core ── append ──► Queue ──► writer thread ──────────► journal.db-wal
//!                      bounded   one transaction per       │
//!                                batch, NORMAL, no fsync    │ after commit
//!  core ◄── Ack (our death) ────────┘                       ▼
//!  core ◄── Ack (power cut) ─────────────────────── sync thread: fdatasync, checkpoints
//!  http ── Reader ──► two reader threads, read-only connections
//! ```
//!
//! # Two classes of durability
//!
//! A record of class [`OurDeath`] is acknowledged when its transaction is committed: the frames
//! are in the page cache and the WAL index is in a shared mapping, and neither belongs to our
//! process. A record of class [`PowerCut`] is acknowledged after the sync thread has called
//! `fdatasync` on the `-wal` file, and that call began after the commit returned. An `OurDeath`
//! record never waits for a sync, not even for one that is under way.
//!
//! # Why `fdatasync` after the commit equals `synchronous=FULL`
//!
//! `FULL` differs from `NORMAL` in WAL mode in one thing: after it has written the frames of a
//! commit it syncs the WAL file before it returns (`sqlite3WalFrames`). We do the same, later and
//! from another descriptor; `fdatasync` covers every dirty page of the inode, whoever wrote it,
//! and the file size. The directory entry of the file is synced once, at open.
//!
//! What could have happened to the frames between the commit and our sync is a checkpoint. It
//! copies them to the database file and lets the next writer start the WAL from the beginning.
//! SQLite orders this, in `NORMAL` too: it syncs the WAL before it copies; it syncs the database
//! file before a checkpoint counts as complete; only a complete one lets a writer restart the WAL
//! (`walCheckpoint`, `walRestartLog`); and the writer that does syncs the new WAL header before it
//! writes a frame, so that old frames are never replayed under new ones. So at the moment our
//! `fdatasync` returns, each frame committed before it is durable in the WAL or in the database.
//!
//! That header sync is the one sync on the commit path, once per round of the WAL. It is taken
//! out of the way: the writer never checkpoints on its own (`wal_autocheckpoint=0`), the sync
//! thread does so when the writer is idle, and the writer then spends the header sync on a commit
//! of its own. Only sustained load without a pause past [`limits::INLINE_CHECKPOINT_PAGES`] makes
//! the writer wait for a disk.
//!
//! # After a failed sync
//!
//! Linux marks the pages of a failed writeback clean, so a second `fdatasync` that succeeds proves
//! nothing, and frames read back for a checkpoint may not be those that were written. A failure is
//! therefore final for what was written before it: records of class `PowerCut` are refused, nothing
//! is checkpointed any more, the journal reports itself degraded. `OurDeath` records go on. Every
//! [`limits::MEND_AFTER`] the log is read back; when each of its frames is what was written, all of
//! them are moved into the database, that is synced, and the journal is well again. A log that is
//! not is left to the next start, which takes it as far as it goes.
//!
//! # Locks
//!
//! SQLite holds POSIX locks on the database file and on `-shm`, and the kernel drops *all* locks
//! of a process on a file when the process closes *any* descriptor of it. Nothing here opens those
//! two by hand; `-wal` carries no locks and may be opened. It is unlinked by nobody while we live:
//! every connection is set not to checkpoint on close, so the `-wal` file exists as long as the
//! database. That is also how a lost WAL is noticed, see `mark.rs`.
//!
//! # What cannot be seen
//!
//! A WAL that was cut short or had bits flipped reads like the end of an unsynced log: SQLite stops
//! at the first frame whose checksum is wrong. In the database file, bits flipped inside a value
//! are noticed only where the value no longer parses; `quick_check` finds the broken structure.
//!
//! [`OurDeath`]: claw_core::Durability::OurDeath
//! [`PowerCut`]: claw_core::Durability::PowerCut

mod backup;
mod error;
mod files;
mod handle;
mod idempotency;
pub mod limits;
mod load;
mod mark;
mod open;
mod queue;
mod reader;
mod retention;
mod row;
mod schema;
mod statement;
mod stats;
mod sync;
mod time;
mod writer;

pub use backup::{Backup, accept_lost_log, back_up, backups, restore, verify};
pub use error::{CallError, CloseError, JournalError, ReadError};
pub use handle::{Ack, Entry, Journal};
pub use idempotency::{IdempotencyKey, Remembered};
pub use load::{OpenInstanceRow, Opened};
pub use open::Options;
pub use reader::Reader;
pub use row::{Counts, Ended, InstanceRow, SlotRow};
pub use stats::{Latency, Stats};

pub(crate) use schema::SCHEMA;
pub(crate) use sync::{Checkpointed, checkpoint};
