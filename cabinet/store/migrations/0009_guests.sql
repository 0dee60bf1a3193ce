-- Somebody without a card charges with a code from the property office. Its first digits say which row it is, the rest
-- is a secret of which only a hash is kept. The row goes when the code is used: it signs in once, and not after its time.
ALTER TABLE resident ADD COLUMN guest INTEGER NOT NULL DEFAULT 0 CHECK (guest IN (0, 1));

CREATE TABLE guest_code (
    number TEXT PRIMARY KEY,
    resident_id INTEGER NOT NULL UNIQUE REFERENCES resident (id) ON DELETE CASCADE,
    secret_hash TEXT NOT NULL,
    expires_unix_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
