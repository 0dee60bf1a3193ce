-- Tokens end by themselves; those there are end a year from now. The usage log can be asked for by outlet.
ALTER TABLE api_token ADD COLUMN expires_unix_ms INTEGER NOT NULL DEFAULT 0;
UPDATE api_token SET expires_unix_ms = 1000 * (CAST(strftime('%s', 'now') AS INTEGER) + 31536000);
ALTER TABLE usage_record ADD COLUMN outlet INTEGER GENERATED ALWAYS AS (
    CASE WHEN json_valid(body) THEN body ->> '$.outlet' END
) VIRTUAL;
