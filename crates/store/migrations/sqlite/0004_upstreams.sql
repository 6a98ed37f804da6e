-- Models that another server serves, reached by an API of OpenAI's shape.

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
