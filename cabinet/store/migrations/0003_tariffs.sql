-- Several tariffs at once: residents have a group that tariffs go by, and may buy packages of hours. A CHECK can only be
-- changed with its table: the rows move into a new one, whose name nothing refers to until it has the old one's.

ALTER TABLE resident ADD COLUMN tariff_group TEXT NOT NULL DEFAULT '';

CREATE TABLE session_new (
    number INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    order_number TEXT NOT NULL UNIQUE,
    request_key TEXT NOT NULL,
    resident_id INTEGER NOT NULL REFERENCES resident (id),
    card TEXT NOT NULL,
    outlet INTEGER NOT NULL,
    code TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('full', 'hours', 'amount', 'package')),
    choice_amount INTEGER NOT NULL,
    held_fen INTEGER NOT NULL CHECK (held_fen >= 0),
    tariff TEXT NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('authorised', 'waiting_for_load', 'charging', 'suspended', 'finished', 'settled')
    ),
    started_unix_ms INTEGER NOT NULL,
    started_trusted INTEGER NOT NULL CHECK (started_trusted IN (0, 1)),
    powered_ms INTEGER NOT NULL DEFAULT 0,
    charging_ms INTEGER NOT NULL DEFAULT 0,
    energy_mwh INTEGER NOT NULL DEFAULT 0,
    peak_power_mw INTEGER NOT NULL DEFAULT 0,
    used TEXT NOT NULL,
    seen TEXT NOT NULL,
    counter TEXT,
    curve_step_s INTEGER NOT NULL,
    stop_reason TEXT,
    stop_who TEXT NOT NULL DEFAULT '',
    refusal TEXT,
    ended_unix_ms INTEGER,
    ended_trusted INTEGER CHECK (ended_trusted IN (0, 1)),
    end_reason TEXT,
    fault TEXT,
    lines TEXT,
    cost_fen INTEGER CHECK (cost_fen BETWEEN 0 AND held_fen),
    refund_fen INTEGER CHECK (refund_fen = held_fen - cost_fen),
    electricity_fen INTEGER CHECK (electricity_fen BETWEEN 0 AND cost_fen),
    usage_number INTEGER REFERENCES usage_record (number),
    UNIQUE (resident_id, request_key),
    CHECK ((state = 'settled') = (cost_fen IS NOT NULL))
) STRICT;

UPDATE session SET tariff = replace(
    replace(tariff, '"electricity_fen_per_kwh"', '"electricity_fen"'), '"service_fen_per_kwh"', '"service_fen"'
);
INSERT INTO session_new SELECT * FROM session;
DROP TABLE session;
ALTER TABLE session_new RENAME TO session;

CREATE UNIQUE INDEX one_session_an_outlet ON session (outlet) WHERE state != 'settled';
CREATE UNIQUE INDEX one_session_a_resident ON session (resident_id) WHERE state != 'settled';
CREATE INDEX session_by_resident ON session (resident_id, number);
CREATE INDEX session_by_start ON session (started_unix_ms);
CREATE INDEX session_by_end ON session (ended_unix_ms);

CREATE TABLE waiting_new (
    number INTEGER PRIMARY KEY,
    resident_id INTEGER NOT NULL UNIQUE REFERENCES resident (id) ON DELETE CASCADE,
    outlet INTEGER NOT NULL,
    code TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('full', 'hours', 'amount', 'package')),
    choice_amount INTEGER NOT NULL,
    since TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    outcome TEXT
) STRICT;

INSERT INTO waiting_new SELECT * FROM waiting;
DROP TABLE waiting;
ALTER TABLE waiting_new RENAME TO waiting;

CREATE UNIQUE INDEX one_waits_an_outlet ON waiting (outlet) WHERE outcome IS NULL;
