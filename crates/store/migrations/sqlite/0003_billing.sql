-- Billing: prices, accounts, usage, limits, vouchers, invoices. Amounts are nano-units (0.000000001) of the currency.

CREATE TABLE price_lists (
    number       INTEGER NOT NULL PRIMARY KEY CHECK (number >= 1),
    id           TEXT    NOT NULL UNIQUE,
    effective_at INTEGER NOT NULL UNIQUE,
    -- The list with the tag of its format.
    document     TEXT    NOT NULL CHECK (json_type(document) = 'object'),
    created_at   INTEGER NOT NULL
) STRICT;

-- How a tenant pays. Without a row: prepaid.
CREATE TABLE terms (
    tenant_id    TEXT    NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    mode         TEXT    NOT NULL CHECK (mode IN ('prepaid', 'postpaid')),
    -- What a postpaid tenant may owe; NULL: anything.
    credit_limit INTEGER CHECK (credit_limit >= 0),
    CHECK (mode = 'postpaid' OR credit_limit IS NULL)
) STRICT, WITHOUT ROWID;

-- Who was there before there were prices goes on as before.
INSERT INTO terms (tenant_id, mode, credit_limit) SELECT id, 'postpaid', NULL FROM tenants;

CREATE TABLE accounts (
    id        TEXT    NOT NULL PRIMARY KEY,
    kind      TEXT    NOT NULL,
    tenant_id TEXT    REFERENCES tenants (id),
    currency  TEXT    NOT NULL CHECK (length(currency) = 3),
    -- What came in less what went out: changes in the transaction of the transfer only.
    balance   INTEGER NOT NULL,
    CHECK ((kind = 'customer') = (tenant_id IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX accounts_by_tenant ON accounts (tenant_id);

-- Never changed: what was wrong is put right by another one.
CREATE TABLE transfers (
    id        TEXT    NOT NULL PRIMARY KEY,
    from_id   TEXT    NOT NULL REFERENCES accounts (id),
    to_id     TEXT    NOT NULL REFERENCES accounts (id),
    amount    INTEGER NOT NULL CHECK (amount > 0),
    currency  TEXT    NOT NULL,
    -- Whose business it is.
    tenant_id TEXT    NOT NULL REFERENCES tenants (id),
    -- JSON object: why.
    reason    TEXT    NOT NULL CHECK (json_type(reason) = 'object'),
    note      TEXT    NOT NULL,
    at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX transfers_by_tenant ON transfers (tenant_id, at);

CREATE TABLE usage (
    seq          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    tenant_id    TEXT    NOT NULL REFERENCES tenants (id),
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    -- These two are right where the record says otherwise.
    state        TEXT    NOT NULL CHECK (state IN ('pending', 'posted', 'void')),
    outcome      TEXT    NOT NULL,
    delivered_at INTEGER,
    -- The record with the tag of its format.
    record       TEXT    NOT NULL CHECK (json_type(record) = 'object')
) STRICT;

CREATE INDEX usage_by_tenant ON usage (tenant_id, started_at, seq);
CREATE INDEX usage_pending ON usage (seq) WHERE state = 'pending';
CREATE INDEX usage_by_age ON usage (ended_at);

-- Posted usage added up in the transaction that posts it.
CREATE TABLE usage_daily (
    tenant_id    TEXT    NOT NULL REFERENCES tenants (id),
    -- Days since 1970-01-01 (UTC), of the start of the work.
    day          INTEGER NOT NULL,
    -- Empty: no key.
    key_id       TEXT    NOT NULL,
    meter        TEXT    NOT NULL CHECK (meter IN ('tokens', 'seconds')),
    name         TEXT    NOT NULL,
    price_number INTEGER NOT NULL,
    requests     INTEGER NOT NULL,
    -- Those of them that failed by the service's fault.
    failed       INTEGER NOT NULL,
    input        INTEGER NOT NULL,
    cached       INTEGER NOT NULL,
    output       INTEGER NOT NULL,
    seconds      INTEGER NOT NULL,
    amount       INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, day, key_id, meter, name, price_number)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_daily_by_key ON usage_daily (key_id, day);
CREATE INDEX usage_daily_by_day ON usage_daily (day);

-- Of a tenant or of one of its keys.
CREATE TABLE limits (
    scope_id   TEXT    NOT NULL PRIMARY KEY,
    tenant_id  TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    limits     TEXT    NOT NULL CHECK (json_type(limits) = 'object'),
    -- Where alerts go.
    webhook    TEXT,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX limits_by_tenant ON limits (tenant_id);

CREATE TABLE vouchers (
    id         TEXT    NOT NULL PRIMARY KEY,
    -- SHA-256 of the code.
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    hint       TEXT    NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    uses       INTEGER NOT NULL CHECK (uses BETWEEN 0 AND uses_max),
    uses_max   INTEGER NOT NULL CHECK (uses_max >= 1),
    note       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;

CREATE TABLE redemptions (
    voucher_id  TEXT    NOT NULL REFERENCES vouchers (id),
    tenant_id   TEXT    NOT NULL REFERENCES tenants (id),
    transfer_id TEXT    NOT NULL REFERENCES transfers (id),
    at          INTEGER NOT NULL,
    PRIMARY KEY (voucher_id, tenant_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE invoices (
    id         TEXT    NOT NULL PRIMARY KEY,
    number     TEXT    NOT NULL UNIQUE,
    tenant_id  TEXT    NOT NULL REFERENCES tenants (id),
    -- YYYY-MM
    month      TEXT    NOT NULL,
    -- The invoice that a credit note is for.
    of_id      TEXT    REFERENCES invoices (id),
    -- The invoice with the tag of its format.
    document   TEXT    NOT NULL CHECK (json_type(document) = 'object'),
    created_at INTEGER NOT NULL
) STRICT;

-- A month is invoiced once.
CREATE UNIQUE INDEX invoices_by_month ON invoices (tenant_id, month) WHERE of_id IS NULL;
CREATE INDEX invoices_by_tenant ON invoices (tenant_id, id);
CREATE INDEX invoices_by_original ON invoices (of_id) WHERE of_id IS NOT NULL;

-- Numbers without gaps.
CREATE TABLE invoice_series (
    prefix TEXT    NOT NULL PRIMARY KEY,
    next   INTEGER NOT NULL CHECK (next >= 1)
) STRICT, WITHOUT ROWID;

-- Messages to tenants that are on their way.
CREATE TABLE webhooks (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant_id  TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    url        TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    attempts   INTEGER NOT NULL CHECK (attempts >= 0),
    next_at    INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX webhooks_due ON webhooks (next_at);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant_id);
