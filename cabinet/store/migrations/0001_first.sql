-- Money is in fen, energy in milliwatt-hours, durations in milliseconds. A moment for people is a pair: milliseconds
-- since 1970 and whether the clock was synchronised then. Balances are checked here as well as in the program.

CREATE TABLE resident (
    id INTEGER PRIMARY KEY,
    card TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL DEFAULT '',
    pin_hash TEXT NOT NULL,
    blocked INTEGER NOT NULL DEFAULT 0 CHECK (blocked IN (0, 1)),
    added_unix_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE staff (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    added_unix_ms INTEGER NOT NULL
) STRICT;

-- Who is signed in. Only the SHA-256 of a token is kept: this file alone signs nobody in.
CREATE TABLE login (
    token_hash TEXT PRIMARY KEY,
    resident_id INTEGER REFERENCES resident (id) ON DELETE CASCADE,
    staff_id INTEGER REFERENCES staff (id) ON DELETE CASCADE,
    expires_unix_ms INTEGER NOT NULL,
    CHECK ((resident_id IS NULL) != (staff_id IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE api_token (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    added_unix_ms INTEGER NOT NULL
) STRICT;

-- The ledger: see billing/ledger.py. Only `cash`, the world outside, may stand below 0.
CREATE TABLE account (
    name TEXT PRIMARY KEY,
    balance_fen INTEGER NOT NULL CHECK (balance_fen >= 0 OR name = 'cash')
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_transaction (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    unix_ms INTEGER NOT NULL,
    trusted INTEGER NOT NULL CHECK (trusted IN (0, 1))
) STRICT;

CREATE TABLE posting (
    transaction_id INTEGER NOT NULL REFERENCES ledger_transaction (id),
    account TEXT NOT NULL REFERENCES account (name),
    amount_fen INTEGER NOT NULL CHECK (amount_fen != 0),
    PRIMARY KEY (transaction_id, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX posting_by_account ON posting (account);

-- One row a session; the meter columns are as of its last checkpoint, the money columns filled in when it is settled.
CREATE TABLE session (
    number INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    order_number TEXT NOT NULL UNIQUE,
    request_key TEXT NOT NULL,
    resident_id INTEGER NOT NULL REFERENCES resident (id),
    card TEXT NOT NULL,
    outlet INTEGER NOT NULL,
    code TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('full', 'hours', 'amount')),
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

CREATE UNIQUE INDEX one_session_an_outlet ON session (outlet) WHERE state != 'settled';
CREATE UNIQUE INDEX one_session_a_resident ON session (resident_id) WHERE state != 'settled';
CREATE INDEX session_by_resident ON session (resident_id, number);
CREATE INDEX session_by_start ON session (started_unix_ms);
CREATE INDEX session_by_end ON session (ended_unix_ms);

CREATE TABLE session_transition (
    id INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES session (session_id),
    step TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    monotonic_ns INTEGER NOT NULL,
    unix_ms INTEGER NOT NULL,
    trusted INTEGER NOT NULL CHECK (trusted IN (0, 1)),
    detail TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX transition_by_session ON session_transition (session_id);

CREATE TABLE curve_point (
    session_id TEXT NOT NULL REFERENCES session (session_id),
    at_s INTEGER NOT NULL,
    power_w INTEGER NOT NULL,
    PRIMARY KEY (session_id, at_s)
) STRICT, WITHOUT ROWID;

-- Energy of an outlet by the site's calendar day.
CREATE TABLE outlet_day (
    outlet INTEGER NOT NULL,
    day TEXT NOT NULL,
    energy_mwh INTEGER NOT NULL,
    PRIMARY KEY (outlet, day)
) STRICT, WITHOUT ROWID;

-- Up to which event of each guard process everything is in this file.
CREATE TABLE guard_position (
    id INTEGER PRIMARY KEY,
    guard_run TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL
) STRICT;

-- `body` is the canonical JSON that `record_hash` is the SHA-256 of; see store/usage.py.
CREATE TABLE usage_record (
    number INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    ended_unix_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    record_hash TEXT NOT NULL
) STRICT;

CREATE INDEX usage_by_end ON usage_record (ended_unix_ms);

-- The last record, so that cutting the end off the log shows too.
CREATE TABLE usage_head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL,
    record_hash TEXT NOT NULL
) STRICT;

-- What was written once is not written again by a mistake of ours; a deliberate hand finds the chain instead.
CREATE TRIGGER posting_stays BEFORE UPDATE ON posting
BEGIN SELECT RAISE(ABORT, 'a posting is never changed'); END;
CREATE TRIGGER posting_kept BEFORE DELETE ON posting
BEGIN SELECT RAISE(ABORT, 'a posting is never deleted'); END;
CREATE TRIGGER usage_stays BEFORE UPDATE ON usage_record
BEGIN SELECT RAISE(ABORT, 'a usage record is never changed'); END;
CREATE TRIGGER usage_kept BEFORE DELETE ON usage_record
BEGIN SELECT RAISE(ABORT, 'a usage record is never deleted'); END;
