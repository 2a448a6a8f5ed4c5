-- Times are microseconds since 1970, in UTC.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `memory` is NULL once the agent has left the fleet; the generation stays, so that none is reused.
CREATE TABLE agent_memory (
    agent           TEXT PRIMARY KEY,
    last_generation INTEGER NOT NULL,
    memory          TEXT
) STRICT, WITHOUT ROWID;

-- One row per life. `ended_at` is NULL while no outcome is known.
CREATE TABLE instance (
    agent      TEXT NOT NULL,
    generation INTEGER NOT NULL,
    spec_hash  TEXT,
    run        TEXT,
    boot_id    TEXT,
    intent_at  INTEGER,
    pid        INTEGER,
    started_at INTEGER,
    cause      TEXT,
    failed     INTEGER,
    report     TEXT,
    ended_at   INTEGER,
    PRIMARY KEY (agent, generation)
) STRICT, WITHOUT ROWID;

CREATE INDEX instance_open ON instance (agent) WHERE ended_at IS NULL;

-- `seq` is the order of acceptance, which a stepped clock cannot change.
CREATE TABLE run (
    seq   INTEGER PRIMARY KEY,
    id    TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    open  INTEGER NOT NULL,
    body  TEXT NOT NULL
) STRICT;

CREATE INDEX run_agent ON run (agent, seq);
CREATE INDEX run_open ON run (seq) WHERE open = 1;

CREATE TABLE slot (
    agent   TEXT NOT NULL,
    planned INTEGER NOT NULL,
    fate    TEXT NOT NULL,
    run     TEXT,
    PRIMARY KEY (agent, planned)
) STRICT, WITHOUT ROWID;

CREATE TABLE config (
    generation INTEGER PRIMARY KEY,
    hash       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    text       TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency (
    scope        TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    response     TEXT NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_at ON idempotency (at);
