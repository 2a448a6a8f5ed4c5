-- The provider's id of the model to which a call goes; `model` is what the agent asked for.
ALTER TABLE llm_call ADD COLUMN model_id TEXT NOT NULL DEFAULT '';

-- What calls have used that are forgotten, and what corrections have taken away: what is counted
-- for metrics must never fall, because they take a fall for a new beginning.
CREATE TABLE llm_total (
  agent TEXT NOT NULL,
  provider TEXT NOT NULL,
  model_id TEXT NOT NULL,
  calls INTEGER NOT NULL,
  input INTEGER NOT NULL,
  cache_read INTEGER NOT NULL,
  cache_write_5m INTEGER NOT NULL,
  cache_write_1h INTEGER NOT NULL,
  output INTEGER NOT NULL,
  reasoning INTEGER NOT NULL,
  searches INTEGER NOT NULL,
  spent INTEGER NOT NULL,
  PRIMARY KEY (agent, provider, model_id)
) WITHOUT ROWID;
