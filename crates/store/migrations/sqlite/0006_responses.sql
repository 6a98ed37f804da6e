-- Stored responses, and what tenants and keys store in all.

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
CREATE INDEX responses_by_tenant ON responses (tenant_id, id);
CREATE INDEX responses_by_expiry ON responses (expires_at);

-- How many bytes a tenant, or a key of it, has stored: always the sum over its rows. Who has nothing has no row.
CREATE TABLE storage (
    scope_id  TEXT    NOT NULL PRIMARY KEY,
    tenant_id TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    bytes     INTEGER NOT NULL CHECK (bytes > 0)
) STRICT, WITHOUT ROWID;
