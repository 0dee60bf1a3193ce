-- The second factor of a staff login: a secret shared with a phone. It must be kept as it is, as codes are worked out
-- of it: what keeps it is that this file and its backups are readable by the service only (mode 0600).
-- `last_step`: of the last code that was accepted; none is accepted twice. Not `confirmed`: no code was shown yet that
-- proves the phone has the secret, and signing in goes without.
CREATE TABLE second_factor (
    staff_id INTEGER PRIMARY KEY REFERENCES staff (id) ON DELETE CASCADE,
    secret BLOB NOT NULL,
    confirmed INTEGER NOT NULL DEFAULT 0 CHECK (confirmed IN (0, 1)),
    last_step INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Each stands for one code, once. They are random and long: SHA-256 is enough.
CREATE TABLE recovery_code (
    staff_id INTEGER NOT NULL REFERENCES second_factor (staff_id) ON DELETE CASCADE,
    code_hash TEXT NOT NULL,
    PRIMARY KEY (staff_id, code_hash)
) STRICT, WITHOUT ROWID;
