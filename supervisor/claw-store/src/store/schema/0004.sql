-- A call is here while it is in flight, and in llm_call from its end on: what it waits for before
-- it leaves is a row in one table without an index.
CREATE TABLE llm_hold (
  id INTEGER PRIMARY KEY,
  admitted_at INTEGER NOT NULL,
  day TEXT NOT NULL,
  agent TEXT NOT NULL,
  run TEXT,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  model_id TEXT NOT NULL,
  held INTEGER NOT NULL,
  estimate INTEGER NOT NULL,
  rates TEXT NOT NULL,
  clamped INTEGER,
  request_hash BLOB NOT NULL,
  corrected INTEGER NOT NULL DEFAULT 0
);
INSERT INTO llm_hold (id, admitted_at, day, agent, run, provider, model, model_id, held, estimate,
    rates, clamped, request_hash, corrected)
  SELECT id, admitted_at, day, agent, run, provider, model, model_id, held, estimate,
    rates, clamped, request_hash, corrected
  FROM llm_call WHERE outcome IS NULL;
DELETE FROM llm_call WHERE outcome IS NULL;
DROP INDEX llm_call_in_flight;
