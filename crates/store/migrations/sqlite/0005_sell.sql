-- Taxes, receipts, monthly runs; and who was shown a key's secret.

-- Which tax holds from a month on.
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

-- What stands on a tenant's invoices beside its name.
CREATE TABLE buyers (
    tenant_id TEXT NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    tax_id    TEXT NOT NULL,
    -- Legal name and address, a line each.
    lines     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How far the invoices of a month are.
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

ALTER TABLE invoices ADD COLUMN kind TEXT NOT NULL DEFAULT 'invoice' CHECK (kind IN ('invoice', 'credit_note', 'top_up'));
UPDATE invoices SET kind = 'credit_note' WHERE of_id IS NOT NULL;
DROP INDEX invoices_by_month;
-- A month is invoiced once.
CREATE UNIQUE INDEX invoices_by_month ON invoices (tenant_id, month) WHERE kind = 'invoice';
CREATE INDEX invoices_of_month ON invoices (month) WHERE kind = 'invoice';

-- The user who was shown the secret last: who made or rotated the key, or the key that it was made with.
ALTER TABLE api_keys ADD COLUMN user_id TEXT REFERENCES users (id) ON DELETE SET NULL;
CREATE INDEX api_keys_by_user ON api_keys (user_id) WHERE user_id IS NOT NULL;
-- Of the keys that there are, the trail says it, as far back as it goes: who made or rotated a key last, and if that was
-- another key, who was shown that one.
WITH RECURSIVE
    last (key_id, kind, by_id, at) AS (
        SELECT event ->> '$.subject', event ->> '$.data.by.kind', event ->> '$.data.by.id', max(at)
        FROM trail WHERE event ->> '$.type' IN ('freehold.key.created', 'freehold.key.rotated') GROUP BY 1
    ),
    shown (key_id, user_id) AS (
        SELECT key_id, by_id FROM last WHERE kind = 'user'
        UNION
        SELECT last.key_id, shown.user_id FROM last JOIN shown ON last.kind = 'key' AND last.by_id = shown.key_id
    )
UPDATE api_keys SET user_id = shown.user_id FROM shown
WHERE shown.key_id = api_keys.id AND EXISTS (SELECT 1 FROM users WHERE users.id = shown.user_id);
