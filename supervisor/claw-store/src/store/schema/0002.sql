-- Money of calls to language models, in pico-USD. Days are written as 2026-11-22.

-- scope: the agent, or nothing for the fleet. period: 0 day, 1 month. told: 0 nothing, 1 nearing
-- the limit, 2 reached.
CREATE TABLE llm_window (
  scope TEXT NOT NULL,
  period INTEGER NOT NULL,
  start TEXT NOT NULL,
  settled INTEGER NOT NULL DEFAULT 0,
  uncertain INTEGER NOT NULL DEFAULT 0,
  told INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (scope, period, start)
) WITHOUT ROWID;

-- outcome is NULL while the call is in flight. corrected: a bit for each of its windows that was
-- corrected as a whole while its cost was uncertain; 1 and 2 the agent's day and month, 4 and 8
-- the fleet's.
CREATE TABLE llm_call (
  id INTEGER PRIMARY KEY,
  admitted_at INTEGER NOT NULL,
  day TEXT NOT NULL,
  agent TEXT NOT NULL,
  run TEXT,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  held INTEGER NOT NULL,
  estimate INTEGER NOT NULL,
  rates TEXT NOT NULL,
  clamped INTEGER,
  request_hash BLOB NOT NULL,
  outcome TEXT,
  spent INTEGER NOT NULL DEFAULT 0,
  uncertain INTEGER NOT NULL DEFAULT 0,
  corrected INTEGER NOT NULL DEFAULT 0,
  model_served TEXT,
  status INTEGER,
  attempts TEXT,
  input INTEGER NOT NULL DEFAULT 0,
  cache_read INTEGER NOT NULL DEFAULT 0,
  cache_write_5m INTEGER NOT NULL DEFAULT 0,
  cache_write_1h INTEGER NOT NULL DEFAULT 0,
  output INTEGER NOT NULL DEFAULT 0,
  reasoning INTEGER NOT NULL DEFAULT 0,
  searches INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER,
  first_byte_at INTEGER,
  ended_at INTEGER
);
CREATE INDEX llm_call_agent ON llm_call (agent, id);
CREATE INDEX llm_call_run ON llm_call (run, id) WHERE run IS NOT NULL;
CREATE INDEX llm_call_at ON llm_call (admitted_at);
CREATE INDEX llm_call_day ON llm_call (day);
CREATE INDEX llm_call_in_flight ON llm_call (id) WHERE outcome IS NULL;
CREATE INDEX llm_call_uncertain ON llm_call (id) WHERE uncertain > 0;
