-- name: purge_keys
-- Forgets idempotency keys that are older than the setting, a batch at a time.
DELETE FROM idempotency WHERE key IN (
    SELECT key FROM idempotency WHERE created_at < now() - make_interval(secs => $1::float8) LIMIT $2)
RETURNING 1;

-- name: purge_sessions
-- Forgets sessions that have expired, with their carts.
DELETE FROM carts WHERE id IN (SELECT cart_id FROM sessions WHERE expires_at < now() LIMIT $1) RETURNING 1;
