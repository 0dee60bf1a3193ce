-- Money is in fen, energy in milliwatt-hours, durations in milliseconds unless the name says otherwise. Times that
-- people read come from a cabinet as milliseconds since 1970 with whether its clock was synchronised; times of the fleet
-- itself are timestamptz. Every row that belongs to a property company names it, and every query names it too.

CREATE TABLE company (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    complaint_phone TEXT NOT NULL DEFAULT '',
    added TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- `site_group` is the unit of staff rights.
CREATE TABLE site (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id BIGINT NOT NULL REFERENCES company (id),
    name TEXT NOT NULL,
    address TEXT NOT NULL DEFAULT '',
    site_group TEXT NOT NULL DEFAULT '',
    timezone TEXT NOT NULL DEFAULT 'Asia/Shanghai',
    UNIQUE (company_id, name)
);

-- `id` is the name in the client certificate. epoch, boot and challenge are those of its last state.
CREATE TABLE cabinet (
    id TEXT PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{2,31}$'),
    company_id BIGINT NOT NULL REFERENCES company (id),
    site_id BIGINT NOT NULL REFERENCES site (id),
    name TEXT NOT NULL,
    added TIMESTAMPTZ NOT NULL DEFAULT now(),
    revoked TIMESTAMPTZ,
    online BOOLEAN NOT NULL DEFAULT FALSE,
    online_changed TIMESTAMPTZ,
    heard TIMESTAMPTZ,
    software TEXT NOT NULL DEFAULT '',
    usage_key TEXT NOT NULL DEFAULT '',
    trusted_keys TEXT[] NOT NULL DEFAULT '{}',
    epoch TEXT NOT NULL DEFAULT '',
    boot TEXT NOT NULL DEFAULT '',
    challenge TEXT NOT NULL DEFAULT '',
    state JSONB,
    state_at TIMESTAMPTZ,
    telemetry_at TIMESTAMPTZ,
    -- sums of `state`, for lists that are sorted and filtered here
    free_outlets INT NOT NULL DEFAULT 0,
    busy_outlets INT NOT NULL DEFAULT 0,
    bad_outlets INT NOT NULL DEFAULT 0,
    fault TEXT,
    problems INT NOT NULL DEFAULT 0,
    feed_mw BIGINT,
    feed_limit_mw BIGINT,
    facts_waiting BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX cabinet_by_company ON cabinet (company_id, site_id);

-- A person views the pages of this cabinet until then: the worker has it send its state every 2 s.
CREATE TABLE viewer (
    cabinet TEXT PRIMARY KEY REFERENCES cabinet (id),
    until TIMESTAMPTZ NOT NULL,
    sent TIMESTAMPTZ
);

CREATE TABLE outlet (
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    number INT NOT NULL,
    code TEXT NOT NULL UNIQUE,
    max_power_w INT NOT NULL DEFAULT 1000,
    PRIMARY KEY (cabinet, number)
);

-- Enrolment codes are good once; only the SHA-256 is kept.
CREATE TABLE enrolment_code (
    code_hash TEXT PRIMARY KEY,
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    expires TIMESTAMPTZ NOT NULL,
    used TIMESTAMPTZ
);

CREATE TABLE certificate (
    serial TEXT PRIMARY KEY,
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    not_before TIMESTAMPTZ NOT NULL,
    not_after TIMESTAMPTZ NOT NULL,
    revoked TIMESTAMPTZ
);
CREATE INDEX certificate_by_cabinet ON certificate (cabinet);

-- Facts as they arrived, once each. `refused` says why a fact could not be taken up: it is set aside and shown.
CREATE TABLE fact (
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    epoch TEXT NOT NULL,
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    received TIMESTAMPTZ NOT NULL DEFAULT now(),
    refused TEXT,
    PRIMARY KEY (cabinet, epoch, number)
);
CREATE INDEX fact_set_aside ON fact (cabinet) WHERE refused IS NOT NULL;

-- A second, different fact under a number that is taken: the cabinet's store was set back to an older copy. Kept, and
-- applied as far as it can be.
CREATE TABLE fact_fork (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    epoch TEXT NOT NULL,
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    received TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (cabinet, epoch, number, body_hash)
);

-- Highest contiguous fact number committed, by epoch: the number that is acknowledged. `highest` is above it while facts
-- wait for a missing one. `usage_number` and `usage_hash` are those of the last record of the mirrored log.
CREATE TABLE fact_position (
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    epoch TEXT NOT NULL,
    number BIGINT NOT NULL DEFAULT 0,
    highest BIGINT NOT NULL DEFAULT 0,
    usage_number BIGINT NOT NULL DEFAULT 0,
    usage_hash TEXT NOT NULL DEFAULT '',
    closing_number BIGINT NOT NULL DEFAULT 0,
    first_seen TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cabinet, epoch)
);

CREATE TABLE resident (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id BIGINT NOT NULL REFERENCES company (id),
    phone TEXT,
    card TEXT,
    name TEXT NOT NULL DEFAULT '',
    pin_hash TEXT,
    tariff_group TEXT NOT NULL DEFAULT '',
    blocked BOOLEAN NOT NULL DEFAULT FALSE,
    erased BOOLEAN NOT NULL DEFAULT FALSE,
    added TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (company_id, phone),
    UNIQUE (company_id, card)
);

CREATE TABLE sms_code (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id BIGINT NOT NULL REFERENCES company (id),
    phone TEXT NOT NULL,
    code_hash TEXT NOT NULL,
    sent TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires TIMESTAMPTZ NOT NULL,
    tries INT NOT NULL DEFAULT 0,
    used TIMESTAMPTZ,
    address TEXT NOT NULL DEFAULT ''
);
CREATE INDEX sms_code_by_phone ON sms_code (company_id, phone, sent);

-- role: operator, accountant or viewer. An empty `site_groups` means all sites of the company.
CREATE TABLE staff (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id BIGINT NOT NULL REFERENCES company (id),
    name TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('operator', 'accountant', 'viewer')),
    site_groups TEXT[] NOT NULL DEFAULT '{}',
    removed TIMESTAMPTZ,
    added TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Who is signed in. Only the SHA-256 of a token is kept.
CREATE TABLE login (
    token_hash TEXT PRIMARY KEY,
    resident_id BIGINT REFERENCES resident (id) ON DELETE CASCADE,
    staff_id BIGINT REFERENCES staff (id) ON DELETE CASCADE,
    expires TIMESTAMPTZ NOT NULL,
    used TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK ((resident_id IS NULL) != (staff_id IS NULL))
);

-- Failed sign-ins and locks, by kind of key (card, phone, login, address), so that they count over all web processes.
CREATE TABLE sign_in_failure (
    key TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX sign_in_failure_by_key ON sign_in_failure (key, at);

-- The ledger of each company; rules in cabinet/billing/ledger.py. Only `cash` may be below 0, and a wallet whose
-- charge was settled late (a named debt: account `debt:<order>`).
CREATE TABLE account (
    company_id BIGINT NOT NULL REFERENCES company (id),
    name TEXT NOT NULL,
    balance_fen BIGINT NOT NULL,
    PRIMARY KEY (company_id, name),
    CHECK (balance_fen >= 0 OR name = 'cash' OR name LIKE 'debt:%')
);

CREATE TABLE ledger_transaction (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id BIGINT NOT NULL REFERENCES company (id),
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (company_id, key)
);

CREATE TABLE posting (
    transaction_id BIGINT NOT NULL REFERENCES ledger_transaction (id),
    company_id BIGINT NOT NULL,
    account TEXT NOT NULL,
    amount_fen BIGINT NOT NULL CHECK (amount_fen != 0),
    PRIMARY KEY (transaction_id, account),
    FOREIGN KEY (company_id, account) REFERENCES account (company_id, name)
);
CREATE INDEX posting_by_account ON posting (company_id, account, transaction_id);

-- Orders for charges. `state` by the table in fleet/orders.py. `boot` and `epoch` are those of the cabinet it was sent to.
CREATE TABLE charge_order (
    number TEXT PRIMARY KEY,
    company_id BIGINT NOT NULL REFERENCES company (id),
    resident_id BIGINT NOT NULL REFERENCES resident (id),
    request_key TEXT NOT NULL,
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    outlet INT NOT NULL,
    code TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('full', 'hours', 'amount', 'package')),
    choice_amount BIGINT NOT NULL,
    tariff_group TEXT NOT NULL DEFAULT '',
    tariff_version TEXT NOT NULL,
    held_fen BIGINT NOT NULL CHECK (held_fen >= 0),
    state TEXT NOT NULL,
    epoch TEXT NOT NULL DEFAULT '',
    boot TEXT NOT NULL DEFAULT '',
    made TIMESTAMPTZ NOT NULL DEFAULT now(),
    sent TIMESTAMPTZ,
    not_after TIMESTAMPTZ,
    answered TIMESTAMPTZ,
    asked TIMESTAMPTZ,
    stop_wanted TIMESTAMPTZ,
    stop_by TEXT NOT NULL DEFAULT 'resident' CHECK (stop_by IN ('resident', 'staff')),
    stop_sent TIMESTAMPTZ,
    ended TIMESTAMPTZ,
    refusal TEXT,
    session_id TEXT,
    usage_number BIGINT,
    cost_fen BIGINT,
    refund_fen BIGINT,
    debt_fen BIGINT NOT NULL DEFAULT 0,
    UNIQUE (resident_id, request_key)
);
CREATE UNIQUE INDEX one_order_an_outlet ON charge_order (cabinet, outlet)
    WHERE state IN ('created', 'held', 'sent', 'accepted', 'charging');
CREATE UNIQUE INDEX one_order_a_resident ON charge_order (resident_id)
    WHERE state IN ('created', 'held', 'sent', 'accepted', 'charging');
CREATE INDEX order_unfinished ON charge_order (state) WHERE state NOT IN ('paid_out', 'given_back');
CREATE INDEX order_by_resident ON charge_order (resident_id, made);
CREATE INDEX order_by_session ON charge_order (cabinet, session_id);

CREATE TABLE order_step (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_number TEXT NOT NULL REFERENCES charge_order (number),
    step TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    detail TEXT NOT NULL DEFAULT ''
);
CREATE INDEX order_step_by_order ON order_step (order_number);

-- Mirrored usage logs. `body` is the canonical JSON that the hash covers, as in the cabinet's store.
CREATE TABLE usage_record (
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    epoch TEXT NOT NULL,
    number BIGINT NOT NULL,
    company_id BIGINT NOT NULL REFERENCES company (id),
    site_id BIGINT NOT NULL REFERENCES site (id),
    session_id TEXT NOT NULL,
    order_number TEXT,
    outlet INT NOT NULL,
    started_unix_ms BIGINT NOT NULL,
    ended_unix_ms BIGINT NOT NULL,
    energy_mwh BIGINT NOT NULL,
    electricity_fen BIGINT NOT NULL,
    service_fen BIGINT NOT NULL,
    end_reason TEXT NOT NULL,
    body TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    record_hash TEXT NOT NULL,
    received TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cabinet, epoch, number)
);
CREATE INDEX usage_by_company ON usage_record (company_id, ended_unix_ms);
-- A new epoch of a cabinet may repeat its whole log, as after a restore of its store: each record is kept once.
CREATE UNIQUE INDEX usage_once ON usage_record (cabinet, session_id, record_hash);
CREATE INDEX usage_by_order ON usage_record (order_number) WHERE order_number IS NOT NULL;

CREATE TABLE usage_closing (
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    epoch TEXT NOT NULL,
    number BIGINT NOT NULL,
    month TEXT NOT NULL,
    body TEXT NOT NULL,
    signature TEXT NOT NULL,
    received TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (cabinet, epoch, number)
);

CREATE UNIQUE INDEX closing_once ON usage_closing (cabinet, signature);

-- Problems of a mirrored log: gap, fork, rewrite, bad_hash, bad_signature, other_key; `number` is the record's. And of the
-- link: missing_fact (`number` is the fact's), code_taken (the outlet's).
CREATE TABLE log_alarm (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    epoch TEXT NOT NULL,
    kind TEXT NOT NULL,
    number BIGINT NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    raised TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (cabinet, epoch, kind, number)
);

-- Faults of a cabinet (outlet 0) or an outlet that last now, and all trips.
CREATE TABLE alarm (
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    outlet INT NOT NULL,
    fault TEXT NOT NULL,
    raised_unix_ms BIGINT NOT NULL,
    cleared_unix_ms BIGINT,
    PRIMARY KEY (cabinet, outlet, fault, raised_unix_ms)
);
CREATE INDEX alarm_open ON alarm (cabinet) WHERE cleared_unix_ms IS NULL;

CREATE TABLE trip (
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    epoch TEXT NOT NULL,
    fact_number BIGINT NOT NULL,
    outlet INT NOT NULL,
    fault TEXT NOT NULL,
    at_unix_ms BIGINT NOT NULL,
    peak_ma BIGINT,
    session_id TEXT,
    PRIMARY KEY (cabinet, epoch, fact_number)
);

-- Desired versions: the fleet says what should be, the cabinet reports what is.
CREATE TABLE desired (
    cabinet TEXT NOT NULL REFERENCES cabinet (id),
    kind TEXT NOT NULL,
    version INT NOT NULL,
    value JSONB NOT NULL,
    set_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_version INT NOT NULL DEFAULT 0,
    applied_value JSONB,
    applied_at TIMESTAMPTZ,
    rejected TEXT,
    sent_at TIMESTAMPTZ,
    PRIMARY KEY (cabinet, kind)
);

-- The posted tariffs as known at the fleet: those it rolled out, by company and version.
CREATE TABLE tariff (
    company_id BIGINT NOT NULL REFERENCES company (id),
    version TEXT NOT NULL,
    toml TEXT NOT NULL,
    added TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, version)
);

CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id BIGINT REFERENCES company (id),
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    staff TEXT NOT NULL,
    role TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    action TEXT NOT NULL,
    resident_id BIGINT,
    subject TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT ''
);
CREATE INDEX audit_by_company ON audit (company_id, id);

-- Every state message of a busy cabinet, thinned to one in five minutes; whole months are dropped, never rows.
CREATE TABLE telemetry (
    cabinet TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    feed_mw BIGINT,
    power_mw BIGINT[] NOT NULL,
    energy_mwh BIGINT[] NOT NULL,
    temperature_mc BIGINT[] NOT NULL,
    PRIMARY KEY (cabinet, at)
) PARTITION BY RANGE (at);

-- Partitions are made ahead by the worker; a state that fits none of them is kept here, never refused.
CREATE TABLE telemetry_other PARTITION OF telemetry DEFAULT;

-- What was written once is not changed: a posting, a usage record, an audit entry, an order's step.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is never changed or deleted', TG_TABLE_NAME; END $$;
CREATE TRIGGER posting_stays BEFORE UPDATE OR DELETE ON posting FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transaction_stays BEFORE UPDATE OR DELETE ON ledger_transaction
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER usage_stays BEFORE UPDATE OR DELETE ON usage_record FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER step_stays BEFORE UPDATE OR DELETE ON order_step FOR EACH ROW EXECUTE FUNCTION refuse_change();
