CREATE TABLE accounts (
    id        TEXT    NOT NULL PRIMARY KEY,
    kind      TEXT    NOT NULL,
    tenant_id TEXT    REFERENCES tenants (id),
    currency  TEXT    NOT NULL CHECK (length(currency) = 3),
    -- What came in less what went out: changes in the transaction of the transfer only.
    balance   INTEGER NOT NULL,
    CHECK ((kind = 'customer') = (tenant_id IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE TABLE adapters (
    id       TEXT    NOT NULL PRIMARY KEY,
    model_id TEXT    NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    name     TEXT    NOT NULL COLLATE NOCASE,
    path     TEXT    NOT NULL,
    sha256   TEXT    NOT NULL CHECK (length(sha256) = 64),
    size     INTEGER NOT NULL CHECK (size >= 0),
    added_at INTEGER NOT NULL,
    UNIQUE (model_id, name)
) STRICT;
CREATE TABLE api_keys (
    id                   TEXT    NOT NULL PRIMARY KEY,
    kind                 TEXT    NOT NULL CHECK (kind IN ('operator', 'tenant')),
    tenant_id            TEXT    REFERENCES tenants (id),
    name                 TEXT    NOT NULL,
    -- SHA-256 of the secret.
    hash                 BLOB    NOT NULL CHECK (length(hash) = 32),
    -- The hash before the last rotation, good until the time beside it.
    previous_hash        BLOB    CHECK (length(previous_hash) = 32),
    previous_valid_until INTEGER,
    hint                 TEXT    NOT NULL,
    -- JSON array of model names; NULL: all models.
    models               TEXT    CHECK (json_type(models) = 'array'),
    created_at           INTEGER NOT NULL,
    expires_at           INTEGER,
    revoked_at           INTEGER,
    last_used_at         INTEGER, scopes TEXT CHECK (json_type(scopes) = 'array'), user_id TEXT REFERENCES users (id) ON DELETE SET NULL,
    CHECK ((kind = 'tenant') = (tenant_id IS NOT NULL)),
    CHECK ((previous_hash IS NULL) = (previous_valid_until IS NULL))
) STRICT;
CREATE TABLE buyers (
    tenant_id TEXT NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    tax_id    TEXT NOT NULL,
    -- Legal name and address, a line each.
    lines     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE idempotency (
    -- The caller and the call.
    scope        TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    -- SHA-256 of the request.
    request_hash BLOB    NOT NULL CHECK (length(request_hash) = 32),
    response_id  TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE identities (
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE TABLE invites (
    id         TEXT    NOT NULL PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    email      TEXT    COLLATE NOCASE,
    tenant_id  TEXT    REFERENCES tenants (id) ON DELETE CASCADE,
    role       TEXT    CHECK (role IN ('owner', 'developer', 'billing', 'viewer')),
    -- The user who invites; NULL: a key.
    inviter    TEXT    REFERENCES users (id) ON DELETE CASCADE,
    note       TEXT    NOT NULL,
    uses       INTEGER NOT NULL CHECK (uses BETWEEN 0 AND uses_max),
    uses_max   INTEGER NOT NULL CHECK (uses_max >= 1),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CHECK ((tenant_id IS NULL) = (role IS NULL)),
    CHECK (tenant_id IS NULL OR email IS NOT NULL)
) STRICT;
CREATE TABLE invoice_runs (
    -- YYYY-MM
    month       TEXT    NOT NULL PRIMARY KEY,
    -- Who began it last: `service` or `operator`.
    begun_by    TEXT    NOT NULL CHECK (begun_by IN ('service', 'operator')),
    started_at  INTEGER NOT NULL,
    -- When all tenants had been looked at; NULL: it is under way, or was interrupted.
    passed_at   INTEGER,
    -- When nothing was left to do.
    finished_at INTEGER,
    -- JSON object: the tenants that are left, and why.
    left_over   TEXT    NOT NULL CHECK (json_type(left_over) = 'object'),
    -- When to try again.
    next_at     INTEGER NOT NULL,
    CHECK (finished_at IS NULL OR passed_at IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE TABLE invoice_series (
    prefix TEXT    NOT NULL PRIMARY KEY,
    next   INTEGER NOT NULL CHECK (next >= 1)
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
, kind TEXT NOT NULL DEFAULT 'invoice' CHECK (kind IN ('invoice', 'credit_note', 'top_up'))) STRICT;
CREATE TABLE limits (
    scope_id   TEXT    NOT NULL PRIMARY KEY,
    tenant_id  TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    limits     TEXT    NOT NULL CHECK (json_type(limits) = 'object'),
    -- Where alerts go.
    webhook    TEXT,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE memberships (
    tenant_id  TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role       TEXT    NOT NULL CHECK (role IN ('owner', 'developer', 'billing', 'viewer')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE models (
    id                 TEXT    NOT NULL PRIMARY KEY,
    name               TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    -- The file that is served.
    path               TEXT    NOT NULL,
    -- The file as it came, where `path` is another representation of it.
    original_path      TEXT,
    sha256             TEXT    NOT NULL CHECK (length(sha256) = 64),
    size               INTEGER NOT NULL CHECK (size >= 0),
    source             TEXT    NOT NULL,
    licence            TEXT,
    architecture       TEXT    NOT NULL,
    parameter_count    INTEGER NOT NULL CHECK (parameter_count >= 0),
    quantization       TEXT    NOT NULL,
    context_length     INTEGER NOT NULL CHECK (context_length >= 0),
    chat_template      INTEGER NOT NULL CHECK (chat_template IN (0, 1)),
    kv_bytes_per_token INTEGER NOT NULL CHECK (kv_bytes_per_token >= 0),
    -- JSON array: every representation that was tried on this machine.
    measurements       TEXT    NOT NULL CHECK (json_type(measurements) = 'array'),
    pinned             INTEGER NOT NULL CHECK (pinned IN (0, 1)),
    added_at           INTEGER NOT NULL
) STRICT;
CREATE TABLE operations (
    id                TEXT    NOT NULL PRIMARY KEY,
    kind              TEXT    NOT NULL,
    -- What it works on: the name of a model.
    subject           TEXT    NOT NULL COLLATE NOCASE,
    state             TEXT    NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'cancelled')),
    progress_permille INTEGER NOT NULL CHECK (progress_permille BETWEEN 0 AND 1000),
    -- What is being done, for a person.
    step              TEXT    NOT NULL,
    result            TEXT    CHECK (json_valid(result)),
    error_code        TEXT,
    error_message     TEXT,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    CHECK ((error_code IS NULL) = (error_message IS NULL)),
    CHECK ((state = 'failed') = (error_code IS NOT NULL))
) STRICT;
CREATE TABLE price_lists (
    number       INTEGER NOT NULL PRIMARY KEY CHECK (number >= 1),
    id           TEXT    NOT NULL UNIQUE,
    effective_at INTEGER NOT NULL UNIQUE,
    -- The list with the tag of its format.
    document     TEXT    NOT NULL CHECK (json_type(document) = 'object'),
    created_at   INTEGER NOT NULL
) STRICT;
CREATE TABLE redemptions (
    voucher_id  TEXT    NOT NULL REFERENCES vouchers (id),
    tenant_id   TEXT    NOT NULL REFERENCES tenants (id),
    transfer_id TEXT    NOT NULL REFERENCES transfers (id),
    at          INTEGER NOT NULL,
    PRIMARY KEY (voucher_id, tenant_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE responses (
    -- Sorts by the time of the request.
    id          TEXT    NOT NULL PRIMARY KEY,
    tenant_id   TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- The key that asked; NULL: a user who was logged in. A key may be gone before what it stored.
    key_id      TEXT,
    -- The response before this one in its conversation; it may be gone.
    previous_id TEXT,
    -- As the client named it.
    model       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    -- Of `response` and `input`.
    bytes       INTEGER NOT NULL CHECK (bytes > 0),
    -- The response as the API has it, a JSON object.
    response    TEXT    NOT NULL,
    -- The items of its own input, a JSON array.
    input       TEXT    NOT NULL
) STRICT;
CREATE TABLE sessions (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE sqlite_sequence(name,seq);
CREATE TABLE storage (
    scope_id  TEXT    NOT NULL PRIMARY KEY,
    tenant_id TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    bytes     INTEGER NOT NULL CHECK (bytes > 0)
) STRICT, WITHOUT ROWID;
CREATE TABLE tax_rules (
    -- Empty: for every tenant without a rule of its own.
    tenant_id  TEXT    NOT NULL,
    -- YYYY-MM
    from_month TEXT    NOT NULL,
    -- The tax as a JSON object; NULL for `none` and `inherit`.
    choice     TEXT    NOT NULL CHECK (choice IN ('tax', 'none', 'inherit')),
    tax        TEXT    CHECK (json_type(tax) = 'object'),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, from_month),
    CHECK ((choice = 'tax') = (tax IS NOT NULL)),
    CHECK (choice <> 'inherit' OR tenant_id <> '')
) STRICT, WITHOUT ROWID;
CREATE TABLE tenants (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    -- Share of the machine against other tenants when it is busy.
    weight     INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 1000),
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE terms (
    tenant_id    TEXT    NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    mode         TEXT    NOT NULL CHECK (mode IN ('prepaid', 'postpaid')),
    -- What a postpaid tenant may owe; NULL: anything.
    credit_limit INTEGER CHECK (credit_limit >= 0),
    CHECK (mode = 'postpaid' OR credit_limit IS NULL)
) STRICT, WITHOUT ROWID;
CREATE TABLE tokens (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    purpose    TEXT    NOT NULL CHECK (purpose IN ('verify', 'reset')),
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- JSON object: what takes effect with it.
    data       TEXT    NOT NULL CHECK (json_type(data) = 'object'),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE trail (
    id        TEXT    NOT NULL PRIMARY KEY,
    tenant_id TEXT,
    at        INTEGER NOT NULL,
    -- CloudEvents 1.0, JSON format, as it is given out.
    event     TEXT    NOT NULL CHECK (json_type(event) = 'object')
) STRICT;
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
CREATE TABLE upstreams (
    id             TEXT    NOT NULL PRIMARY KEY,
    -- The names of `models` and of these are one set: whoever writes to either looks into both.
    name           TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    -- The address of its API, without a slash at the end: `http://gpu1:8000/v1`.
    url            TEXT    NOT NULL,
    -- Its own name of the model.
    model          TEXT    NOT NULL,
    -- Who fulfils, as usage records name it.
    provider       TEXT    NOT NULL,
    -- The key to it, sealed with the service's key and bound to `id`.
    sealed_key     BLOB,
    -- Certificates in PEM that it may be signed by, beside the public ones.
    ca_pem         TEXT,
    context_length INTEGER NOT NULL CHECK (context_length > 0),
    parallel_max   INTEGER NOT NULL CHECK (parallel_max > 0),
    queue_max      INTEGER NOT NULL CHECK (queue_max >= 0),
    -- Whether it takes `cache_salt` and keeps tenants' cached prefixes apart by it.
    cache_salt     INTEGER NOT NULL CHECK (cache_salt IN (0, 1)),
    added_at       INTEGER NOT NULL
) STRICT;
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
CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY,
    email         TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    name          TEXT    NOT NULL,
    -- PHC string; NULL: logs in through a provider only.
    password_hash TEXT,
    -- Manages the service.
    operator      INTEGER NOT NULL CHECK (operator IN (0, 1)),
    -- Since when it may log in.
    verified_at   INTEGER,
    -- Whether it was proved that the address is theirs: by a mail's reader, or by a provider that verified it.
    address_proved INTEGER NOT NULL CHECK (address_proved IN (0, 1)),
    -- An operator has closed the account; only an operator opens it again.
    closed        INTEGER NOT NULL CHECK (closed IN (0, 1)),
    created_at    INTEGER NOT NULL,
    last_login_at INTEGER,
    CHECK (closed = 0 OR verified_at IS NULL)
) STRICT;
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
CREATE TABLE waiting (
    id          TEXT    NOT NULL PRIMARY KEY,
    user_id     TEXT    NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    -- The name that the tenant is to have.
    tenant_name TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE TABLE webhooks (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant_id  TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    url        TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    attempts   INTEGER NOT NULL CHECK (attempts >= 0),
    next_at    INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX accounts_by_tenant ON accounts (tenant_id);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, id);
CREATE INDEX api_keys_by_user ON api_keys (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX idempotency_by_age ON idempotency (created_at);
CREATE INDEX identities_by_user ON identities (user_id);
CREATE INDEX invites_by_inviter ON invites (inviter);
CREATE INDEX invites_by_tenant ON invites (tenant_id, id);
CREATE UNIQUE INDEX invoices_by_month ON invoices (tenant_id, month) WHERE kind = 'invoice';
CREATE INDEX invoices_by_original ON invoices (of_id) WHERE of_id IS NOT NULL;
CREATE INDEX invoices_by_tenant ON invoices (tenant_id, id);
CREATE INDEX invoices_of_month ON invoices (month) WHERE kind = 'invoice';
CREATE INDEX limits_by_tenant ON limits (tenant_id);
CREATE INDEX memberships_by_user ON memberships (user_id, created_at);
CREATE UNIQUE INDEX operations_open ON operations (subject) WHERE state IN ('pending', 'running');
CREATE INDEX responses_by_expiry ON responses (expires_at);
CREATE INDEX responses_by_tenant ON responses (tenant_id, id);
CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);
CREATE INDEX tokens_by_end ON tokens (expires_at);
CREATE INDEX tokens_by_user ON tokens (user_id, purpose, created_at);
CREATE INDEX trail_by_age ON trail (at);
CREATE INDEX trail_by_tenant ON trail (tenant_id, id);
CREATE INDEX transfers_by_tenant ON transfers (tenant_id, at);
CREATE INDEX usage_by_age ON usage (ended_at);
CREATE INDEX usage_by_tenant ON usage (tenant_id, started_at, seq);
CREATE INDEX usage_daily_by_day ON usage_daily (day);
CREATE INDEX usage_daily_by_key ON usage_daily (key_id, day);
CREATE INDEX usage_pending ON usage (seq) WHERE state = 'pending';
CREATE INDEX users_unverified ON users (created_at) WHERE verified_at IS NULL;
CREATE INDEX webhooks_by_tenant ON webhooks (tenant_id);
CREATE INDEX webhooks_due ON webhooks (next_at);
