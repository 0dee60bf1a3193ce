-- The link to a fleet; empty on a cabinet without one. `uplink` names this store to the fleet by a random epoch, which a
-- restored backup does not keep: its facts begin again with number 1. `facts` and `acked` are the highest numbers written
-- and acknowledged; they stay when the rows are deleted, so numbers have no gap. `resident_id` is the row that all charges
-- of the fleet's orders refer to: nobody's, shaped like an erased resident's, without a wallet.
CREATE TABLE uplink (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    epoch TEXT NOT NULL,
    resident_id INTEGER NOT NULL REFERENCES resident (id),
    facts INTEGER NOT NULL DEFAULT 0,
    acked INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Facts for the fleet. A settled charge is the usage record itself, which is never changed: its row only names it.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT,
    usage_number INTEGER REFERENCES usage_record (number),
    unix_ms INTEGER NOT NULL,
    trusted INTEGER NOT NULL CHECK (trusted IN (0, 1)),
    acked_unix_ms INTEGER,
    CHECK ((body IS NULL) = (usage_number IS NOT NULL))
) STRICT;
CREATE INDEX outbox_by_ack ON outbox (acked_unix_ms) WHERE acked_unix_ms IS NOT NULL;

-- Faults that stand, as the fleet knows them; outlet 0 is the cabinet.
CREATE TABLE reported_alarm (
    outlet INTEGER PRIMARY KEY,
    fault TEXT NOT NULL
) STRICT;

-- Orders of the fleet, each once: written before the guard is asked to close. `payload_hash` shows whether the same
-- number came with other contents. An order without a session was refused at once.
CREATE TABLE fleet_order (
    order_number TEXT PRIMARY KEY,
    payload_hash TEXT NOT NULL,
    unix_ms INTEGER NOT NULL,
    trusted INTEGER NOT NULL CHECK (trusted IN (0, 1)),
    outlet INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('received', 'accepted', 'refused', 'ended')),
    code TEXT,
    session_id TEXT UNIQUE,
    end_reason TEXT,
    CHECK ((state = 'refused') = (code IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- What the fleet wants in force, by kind: the last version taken, its value, and the reason if a later one was rejected.
CREATE TABLE desired_version (
    kind TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    value TEXT NOT NULL,
    rejected_version INTEGER,
    rejected TEXT,
    unix_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The order that pays for a charge, and its own limits, which only lower the cabinet's.
ALTER TABLE session ADD COLUMN fleet_order TEXT REFERENCES fleet_order (order_number);
ALTER TABLE session ADD COLUMN max_energy_mwh INTEGER;
ALTER TABLE session ADD COLUMN max_charging_s INTEGER;
DROP INDEX one_session_a_resident;
CREATE UNIQUE INDEX one_session_a_resident ON session (resident_id) WHERE state != 'settled' AND fleet_order IS NULL;
CREATE UNIQUE INDEX session_by_fleet_order ON session (fleet_order) WHERE fleet_order IS NOT NULL;
