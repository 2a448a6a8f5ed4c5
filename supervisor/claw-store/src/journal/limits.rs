//! Every bound of the journal, with its reason.

use std::time::Duration;

/// Entries that may wait before one that asks for an answer is refused. A fleet of 5,000 agents
/// that starts at once appends 15,000.
pub const QUEUE_ENTRIES: usize = 16_384;

/// The same bound in bytes of payload, so that big runs cannot fill memory.
pub const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// Entries that may wait at all. Those without an answer tell what has already happened; since no
/// instance starts without an answered intent, they come to an end by themselves long before this.
pub const QUEUE_ENTRIES_HARD: usize = 4 * QUEUE_ENTRIES;

/// Entries in one transaction: bounds how long the first of a batch waits for the last.
pub const BATCH_ENTRIES: usize = 1_024;

/// How long SQLite waits for a foreign lock before the writer looks around and tries again.
pub const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// How long opening waits for a foreign lock.
pub const OPEN_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the writer waits before it tries again to write what the disk refused.
pub const RETRY: Duration = Duration::from_millis(500);

/// After a failed sync, and after each attempt to make it good, the next attempt comes so much later.
pub const MEND_AFTER: Duration = Duration::from_secs(10);

/// Without an entry for this long, the writer is idle and tidies up.
pub const IDLE: Duration = Duration::from_millis(200);

/// Pages in the WAL (4 KiB each) from which an idle writer asks for a checkpoint.
pub const IDLE_CHECKPOINT_PAGES: u64 = 1_000;

/// Pages in the WAL from which a busy writer asks for a checkpoint.
pub const BUSY_CHECKPOINT_PAGES: u64 = 8_000;

/// Pages in the WAL (128 MiB) from which the writer checkpoints itself, waiting for the disk.
pub const INLINE_CHECKPOINT_PAGES: u64 = 32_768;

/// Pages by which the WAL grows before the writer tries that again when the sync thread was at it.
pub const INLINE_RETRY_PAGES: u64 = 64;

/// How long the check of the database at open may take; what is left then is not checked.
pub const CHECK_TIME: Duration = Duration::from_secs(5);

/// Problems that a check of the database names.
pub const CHECK_PROBLEMS: u32 = 3;

/// How long `close` waits for what is queued.
pub const CLOSE_TIME: Duration = Duration::from_secs(10);

/// Threads that serve readers.
pub const READERS: usize = 2;

/// Questions that may wait for a reader.
pub const READS_WAITING: usize = 256;

/// Rows that one question answers at most.
pub const READ_ROWS: u32 = 1_000;

/// Finished runs kept per agent.
pub const RUNS_KEPT: u32 = 1_000;

/// Ended instances kept per agent.
pub const INSTANCES_KEPT: u32 = 200;

/// How long slots are kept; the newest of each agent is kept always.
pub const SLOTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Slots kept per agent: a month of a schedule that fires every four minutes.
pub const SLOTS_KEPT_COUNT: u32 = 10_000;

/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Rows that one transaction of retention deletes.
pub const PRUNE_ROWS: u32 = 100;

/// Records about an agent after which its history is looked at again. A writer that is never idle
/// makes one step of retention with each batch, and one more for so many records in it, so that
/// histories exceed what is kept by little more than this.
pub const PRUNE_EVERY: u32 = 32;
