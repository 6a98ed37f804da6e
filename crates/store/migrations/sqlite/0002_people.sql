-- People: who logs in, what they are to which tenant, and what was done by whom.
-- Passwords are argon2id; sessions, tokens and invites are kept as the SHA-256 of their random text.

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

CREATE INDEX users_unverified ON users (created_at) WHERE verified_at IS NULL;

CREATE TABLE memberships (
    tenant_id  TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role       TEXT    NOT NULL CHECK (role IN ('owner', 'developer', 'billing', 'viewer')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX memberships_by_user ON memberships (user_id, created_at);

CREATE TABLE sessions (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id, created_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- What a mail gave its reader; good once.
CREATE TABLE tokens (
    hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    purpose    TEXT    NOT NULL CHECK (purpose IN ('verify', 'reset')),
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- JSON object: what takes effect with it.
    data       TEXT    NOT NULL CHECK (json_type(data) = 'object'),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_user ON tokens (user_id, purpose, created_at);
CREATE INDEX tokens_by_end ON tokens (expires_at);

CREATE TABLE waiting (
    id          TEXT    NOT NULL PRIMARY KEY,
    user_id     TEXT    NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    -- The name that the tenant is to have.
    tenant_name TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- An invitation to a tenant (for one address, once), or a code that lets people sign up.
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

CREATE INDEX invites_by_tenant ON invites (tenant_id, id);
CREATE INDEX invites_by_inviter ON invites (inviter);

-- Who somebody is at an OpenID Connect provider.
CREATE TABLE identities (
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX identities_by_user ON identities (user_id);

-- The audit trail. Outlives what it is about, so it refers to nothing.
CREATE TABLE trail (
    id        TEXT    NOT NULL PRIMARY KEY,
    tenant_id TEXT,
    at        INTEGER NOT NULL,
    -- CloudEvents 1.0, JSON format, as it is given out.
    event     TEXT    NOT NULL CHECK (json_type(event) = 'object')
) STRICT;

CREATE INDEX trail_by_tenant ON trail (tenant_id, id);
CREATE INDEX trail_by_age ON trail (at);

-- JSON array of what a tenant's key is good for; NULL: everything.
ALTER TABLE api_keys ADD COLUMN scopes TEXT CHECK (json_type(scopes) = 'array');
