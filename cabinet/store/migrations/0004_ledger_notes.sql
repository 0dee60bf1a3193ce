-- Why staff moved money, in their own words.
ALTER TABLE ledger_transaction ADD COLUMN note TEXT NOT NULL DEFAULT '';
CREATE INDEX transaction_by_time ON ledger_transaction (unix_ms);
