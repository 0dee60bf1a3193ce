-- When a sign-in was last used: one that nobody uses ends sooner than its time.
ALTER TABLE login ADD COLUMN used_unix_ms INTEGER NOT NULL DEFAULT 0;
UPDATE login SET used_unix_ms = CAST(strftime('%s', 'now') AS INTEGER) * 1000;
