-- Times are milliseconds since 1970.

CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- State: a log of revisions per key over content-addressed values.

CREATE TABLE ns (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  ver INTEGER NOT NULL DEFAULT 0,
  live_bytes INTEGER NOT NULL DEFAULT 0,
  max_bytes INTEGER NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 0
);

-- kind: 0 commit, 1 ttl, 2 rollback, 3 import. mark: 0 none, 1 checkpoint, 2 pinned.
CREATE TABLE commit_log (
  ns INTEGER NOT NULL,
  ver INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  mark INTEGER NOT NULL DEFAULT 0,
  label TEXT,
  run_id TEXT,
  writer TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  keys INTEGER NOT NULL,
  live_bytes INTEGER NOT NULL,
  PRIMARY KEY (ns, ver)
) WITHOUT ROWID;

-- val is NULL where the key was deleted.
CREATE TABLE rev (
  ns INTEGER NOT NULL,
  key TEXT NOT NULL,
  ver INTEGER NOT NULL,
  val INTEGER,
  size INTEGER NOT NULL,
  expires INTEGER,
  PRIMARY KEY (ns, key, ver)
) WITHOUT ROWID;

CREATE TABLE head (
  ns INTEGER NOT NULL,
  key TEXT NOT NULL,
  ver INTEGER NOT NULL,
  val INTEGER NOT NULL,
  size INTEGER NOT NULL,
  expires INTEGER,
  PRIMARY KEY (ns, key)
) WITHOUT ROWID;

CREATE INDEX head_expires ON head (expires) WHERE expires IS NOT NULL;

-- enc: 0 raw, 1 zstd, 2 a list of chunks. refs counts the revisions that point here.
CREATE TABLE val (
  id INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  refs INTEGER NOT NULL,
  size INTEGER NOT NULL,
  enc INTEGER NOT NULL,
  data BLOB NOT NULL
);

-- For the sweep of chunks, which reads every list of chunks and nothing else.
CREATE INDEX val_lists ON val (id) WHERE enc = 2;

CREATE TABLE chunk (
  id INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  enc INTEGER NOT NULL,
  data BLOB NOT NULL
);

-- Events and who is to get them.

CREATE TABLE event (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  source TEXT NOT NULL,
  topic TEXT NOT NULL,
  key TEXT,
  at INTEGER NOT NULL,
  expires INTEGER,
  attrs TEXT,
  data BLOB NOT NULL
);

-- hash: 64 bits over source and id. seq is 0 as long as the event is delayed.
CREATE TABLE dedup (hash INTEGER PRIMARY KEY, seq INTEGER NOT NULL, until INTEGER NOT NULL);

CREATE TABLE timer (
  n INTEGER PRIMARY KEY,
  due INTEGER NOT NULL,
  id TEXT NOT NULL,
  source TEXT NOT NULL,
  topic TEXT NOT NULL,
  key TEXT,
  expires INTEGER,
  attrs TEXT,
  data BLOB NOT NULL
);

CREATE INDEX timer_due ON timer (due);

-- acked: ranges of settled numbers above floor. inflight: deliveries under way with their attempt.
CREATE TABLE grp (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  config TEXT NOT NULL,
  paused INTEGER NOT NULL DEFAULT 0,
  orphaned INTEGER,
  floor INTEGER NOT NULL,
  acked BLOB NOT NULL,
  inflight BLOB NOT NULL,
  counts TEXT NOT NULL
);

CREATE TABLE pending (
  grp INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  due INTEGER NOT NULL,
  error TEXT,
  PRIMARY KEY (grp, seq)
) WITHOUT ROWID;

CREATE TABLE dead (
  n INTEGER PRIMARY KEY,
  grp INTEGER NOT NULL,
  died INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  reason TEXT NOT NULL,
  error TEXT,
  seq INTEGER NOT NULL,
  id TEXT NOT NULL,
  source TEXT NOT NULL,
  topic TEXT NOT NULL,
  key TEXT,
  at INTEGER NOT NULL,
  expires INTEGER,
  attrs TEXT,
  data BLOB NOT NULL,
  UNIQUE (grp, seq)
);

-- Answers to finished work, for those who ask again.
CREATE TABLE done (
  n INTEGER PRIMARY KEY,
  work TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  at INTEGER NOT NULL,
  answer TEXT NOT NULL,
  UNIQUE (work, attempt)
);
