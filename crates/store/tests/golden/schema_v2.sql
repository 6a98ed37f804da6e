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
    last_used_at         INTEGER, scopes TEXT CHECK (json_type(scopes) = 'array'),
    CHECK ((kind = 'tenant') = (tenant_id IS NOT NULL)),
    CHECK ((previous_hash IS NULL) = (previous_valid_until IS NULL))
) STRICT;
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
CREATE TABLE sessions (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE tenants (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    -- Share of the machine against other tenants when it is busy.
    weight     INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 1000),
    created_at INTEGER NOT NULL
) STRICT;
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
CREATE TABLE waiting (
    id          TEXT    NOT NULL PRIMARY KEY,
    user_id     TEXT    NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    -- The name that the tenant is to have.
    tenant_name TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, id);
CREATE INDEX idempotency_by_age ON idempotency (created_at);
CREATE INDEX identities_by_user ON identities (user_id);
CREATE INDEX invites_by_inviter ON invites (inviter);
CREATE INDEX invites_by_tenant ON invites (tenant_id, id);
CREATE INDEX memberships_by_user ON memberships (user_id, created_at);
CREATE UNIQUE INDEX operations_open ON operations (subject) WHERE state IN ('pending', 'running');
CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);
CREATE INDEX tokens_by_end ON tokens (expires_at);
CREATE INDEX tokens_by_user ON tokens (user_id, purpose, created_at);
CREATE INDEX trail_by_age ON trail (at);
CREATE INDEX trail_by_tenant ON trail (tenant_id, id);
CREATE INDEX users_unverified ON users (created_at) WHERE verified_at IS NULL;
