-- Payments by phone: merchant accounts, payments, refunds, each step a row; the platforms' bills, and what differs.

-- One company's account at one platform. `secrets` is sealed with a key outside the database. A retired account offers
-- nothing any more; what was paid to it goes back by it.
CREATE TABLE merchant_account (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id BIGINT NOT NULL REFERENCES company (id),
    platform TEXT NOT NULL CHECK (platform IN ('wechat', 'alipay')),
    merchant TEXT NOT NULL,
    app TEXT NOT NULL,
    settings JSONB NOT NULL,
    secrets BYTEA NOT NULL,
    added TIMESTAMPTZ NOT NULL DEFAULT now(),
    changed TIMESTAMPTZ NOT NULL DEFAULT now(),
    retired TIMESTAMPTZ,
    UNIQUE (platform, merchant, app)
);
CREATE UNIQUE INDEX one_account_a_platform ON merchant_account (company_id, platform) WHERE retired IS NULL;

-- A person as a platform names them to an app: a resident without card and phone.
CREATE TABLE payer (
    company_id BIGINT NOT NULL REFERENCES company (id),
    platform TEXT NOT NULL,
    app TEXT NOT NULL,
    payer TEXT NOT NULL,
    resident_id BIGINT NOT NULL REFERENCES resident (id),
    PRIMARY KEY (company_id, platform, app, payer)
);
CREATE INDEX payer_by_resident ON payer (resident_id);

-- `state` by the table in fleet/money/payment_table.py. `due`: the watcher takes it up then.
CREATE TABLE payment (
    number TEXT PRIMARY KEY,
    company_id BIGINT NOT NULL REFERENCES company (id),
    resident_id BIGINT NOT NULL REFERENCES resident (id),
    account_id BIGINT NOT NULL REFERENCES merchant_account (id),
    request_key TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('charge', 'wallet')),
    way TEXT NOT NULL CHECK (way IN ('in_app', 'browser')),
    amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
    code TEXT NOT NULL DEFAULT '',
    choice TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    payer TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    offer JSONB,
    made TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires TIMESTAMPTZ NOT NULL,
    paid TIMESTAMPTZ,
    platform_number TEXT NOT NULL DEFAULT '',
    order_number TEXT REFERENCES charge_order (number),
    refusal TEXT,
    due TIMESTAMPTZ NOT NULL DEFAULT now(),
    tries INT NOT NULL DEFAULT 0,
    UNIQUE (resident_id, request_key)
);
CREATE UNIQUE INDEX one_open_payment ON payment (resident_id) WHERE state IN ('created', 'offered');
CREATE INDEX payment_due ON payment (due) WHERE state IN ('created', 'offered', 'closing');
CREATE INDEX payment_in_hand ON payment (state) WHERE state IN ('paid', 'started');
CREATE INDEX payment_by_resident ON payment (resident_id, made);
CREATE INDEX payment_by_company ON payment (company_id, paid);
CREATE UNIQUE INDEX payment_by_order ON payment (order_number) WHERE order_number IS NOT NULL;

CREATE TABLE refund (
    number TEXT PRIMARY KEY,
    payment_number TEXT NOT NULL REFERENCES payment (number),
    company_id BIGINT NOT NULL REFERENCES company (id),
    amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
    reason TEXT NOT NULL,
    state TEXT NOT NULL,
    made TIMESTAMPTZ NOT NULL DEFAULT now(),
    ended TIMESTAMPTZ,
    platform_number TEXT NOT NULL DEFAULT '',
    problem TEXT,
    due TIMESTAMPTZ NOT NULL DEFAULT now(),
    tries INT NOT NULL DEFAULT 0
);
CREATE INDEX refund_by_payment ON refund (payment_number);
CREATE INDEX refund_due ON refund (due) WHERE state IN ('wanted', 'sent');
CREATE INDEX refund_failed ON refund (company_id) WHERE state = 'failed';

CREATE TABLE payment_step (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_number TEXT NOT NULL REFERENCES payment (number),
    refund_number TEXT REFERENCES refund (number),
    step TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    detail TEXT NOT NULL DEFAULT ''
);
CREATE INDEX payment_step_by_payment ON payment_step (payment_number);
CREATE TRIGGER payment_step_stays BEFORE UPDATE OR DELETE ON payment_step
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- A platform's bill of a day, compared with our rows.
CREATE TABLE platform_bill (
    account_id BIGINT NOT NULL REFERENCES merchant_account (id),
    day DATE NOT NULL,
    fetched TIMESTAMPTZ NOT NULL DEFAULT now(),
    payments INT NOT NULL,
    paid_fen BIGINT NOT NULL,
    refunded_fen BIGINT NOT NULL,
    fee_fen BIGINT NOT NULL,
    PRIMARY KEY (account_id, day)
);

-- What a platform reports and we have not, or have otherwise; a person closes each with a note.
CREATE TABLE payment_difference (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id BIGINT NOT NULL REFERENCES company (id),
    account_id BIGINT NOT NULL REFERENCES merchant_account (id),
    day DATE NOT NULL,
    kind TEXT NOT NULL,
    payment_number TEXT NOT NULL,
    refund_number TEXT NOT NULL DEFAULT '',
    ours_fen BIGINT NOT NULL,
    theirs_fen BIGINT NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    found TIMESTAMPTZ NOT NULL DEFAULT now(),
    closed TIMESTAMPTZ,
    closed_by TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    UNIQUE (account_id, kind, payment_number, refund_number)
);
CREATE INDEX difference_open ON payment_difference (company_id) WHERE closed IS NULL;

-- `platform:<platform>:<merchant>` is money at a platform, and as `cash` below 0 while it is there.
ALTER TABLE account DROP CONSTRAINT account_check;
ALTER TABLE account ADD CONSTRAINT account_check
    CHECK (balance_fen >= 0 OR name = 'cash' OR name LIKE 'debt:%' OR name LIKE 'platform:%');
