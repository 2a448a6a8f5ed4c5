//! Every bound of the store, with its reason.

use std::time::Duration;

/// Requests that may wait for the writer. A bus at 100,000 events a second fills it in 0.3 s.
pub const QUEUE_JOBS: usize = 32_768;

/// The same bound in bytes of payload, so that big values cannot fill memory.
pub const QUEUE_BYTES: usize = 128 * 1024 * 1024;

/// Requests in one transaction: bounds how long the first of a batch waits for the last.
pub const BATCH_JOBS: usize = 1_024;

/// Payload in one transaction, for the same reason.
pub const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// How long the writer waits at most for requests that are expected to join a batch.
pub const GATHERING: Duration = Duration::from_micros(500);

/// Bytes of pages that each connection keeps in memory, where nobody says otherwise.
pub const PAGE_CACHE: u32 = 16 * 1024 * 1024;

/// Threads that read.
pub const READERS: usize = 3;

/// Questions that may wait for a reader.
pub const READS_WAITING: usize = 1_024;

/// How long opening waits for a foreign lock.
pub const OPEN_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the check of the file at open may take; what is left then is not checked.
pub const CHECK_TIME: Duration = Duration::from_secs(5);

/// How long the writer waits before it tries again to write what the disk refused.
pub const RETRY: Duration = Duration::from_millis(500);

/// The writer looks at its chores at least this often.
pub const CHORES: Duration = Duration::from_secs(1);

/// Pages in the log (4 KiB each) from which a checkpoint is made beside the writer.
pub const CHECKPOINT_PAGES: u64 = 4_000;

/// Pages in the log (128 MiB) from which the writer makes it itself, waiting for the disk.
pub const INLINE_CHECKPOINT_PAGES: u64 = 32_768;

/// Pages by which the log grows before the writer tries that again when the thread beside was at it.
pub const INLINE_RETRY_PAGES: u64 = 64;

/// How long `close` waits for what is queued.
pub const CLOSE_TIME: Duration = Duration::from_secs(10);

/// Rows that one step of a chore touches: bounds how long a request waits behind it.
pub const CHORE_ROWS: u32 = 500;

/// Events of a group that are looked at and not settled. A group that has more stops to look at
/// new ones, so a stuck event costs a bounded amount of memory.
pub const WINDOW: usize = 10_000;

/// Ranges of settled events above one that is stuck, after which a group stops to look at more:
/// they are written with each commit.
pub const RANGES: usize = 10_000;

/// Bytes of events that a group keeps in memory so that they need not be read back.
pub const GROUP_CACHE_BYTES: usize = 2 * 1024 * 1024;

/// Rows that a group reads at a time when it is behind.
pub const REFILL_ROWS: u32 = 512;

/// Deliveries that one pull may ask for.
pub const PULL_MAX: usize = 1_024;

/// Bytes of the events of batches that one pull gives: an answer is made in memory.
pub const PULL_BYTES: usize = 16 * 1024 * 1024;

/// How many events may lie before one in its chain.
pub const HOP_LIMIT: u32 = 32;

/// Ids of recent events kept in memory to know duplicates; older ones of the window are in a table.
/// About 9 MB, and ten minutes of 330 events a second.
pub const DEDUP_IDS: usize = 200_000;

/// Ids that one commit moves to that table, at least: bounds how long a request waits for it.
pub const DEDUP_SLICE: usize = 1_024;

/// How long the answer to finished work is remembered.
pub const DONE_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Bytes of values that one request reads in its transaction: the writer waits for them.
pub const LOOK_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of values in an answer that is remembered.
pub const REMEMBERED_BYTES: usize = 1024 * 1024;

/// The longest key of a namespace in bytes.
pub const KEY_BYTES: usize = 1_024;

/// Decoded values kept for readers, in bytes.
pub const CACHE_BYTES: usize = 16 * 1024 * 1024;
