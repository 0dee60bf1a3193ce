-- Staff have roles; whoever could do everything so far still can. What staff do on the pages is written down, by name,
-- as the login may be gone when somebody asks; a resident only by number, so that personal data can be erased.
ALTER TABLE staff ADD COLUMN role TEXT NOT NULL DEFAULT 'operator'
    CHECK (role IN ('operator', 'accountant', 'viewer'));

CREATE TABLE audit_entry (
    number INTEGER PRIMARY KEY,
    unix_ms INTEGER NOT NULL,
    trusted INTEGER NOT NULL CHECK (trusted IN (0, 1)),
    staff TEXT NOT NULL,
    role TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    resident_id INTEGER REFERENCES resident (id),
    subject TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX audit_by_time ON audit_entry (unix_ms);
CREATE INDEX audit_by_staff ON audit_entry (staff);
CREATE INDEX audit_by_resident ON audit_entry (resident_id);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'an audit entry is never changed'); END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'an audit entry is never deleted'); END;
