-- name: purge_keys
-- Forgets idempotency keys that are older than the setting, a batch at a time.
DELETE FROM idempotency WHERE key IN (
    SELECT key FROM idempotency WHERE created_at < now() - make_interval(secs => $1::float8) LIMIT $2)
RETURNING 1;

-- name: purge_sessions
-- Forgets sessions that have expired.
DELETE FROM sessions WHERE token_hash IN (SELECT token_hash FROM sessions WHERE expires_at < now() LIMIT $1) RETURNING cart_id;

-- name: purge_guest_carts
-- Forgets the carts of guests whose last session has ended.
WITH gone AS (
    DELETE FROM carts c WHERE c.id = ANY ($1::uuid[]) AND c.customer_id IS NULL
       AND NOT EXISTS (SELECT FROM sessions s WHERE s.cart_id = c.id) RETURNING c.id
), emptied AS (DELETE FROM cart_lines l USING gone WHERE l.cart_id = gone.id)
SELECT id FROM gone;

-- name: purge_old_carts
-- Forgets carts that nobody changed for long and no session leads to; ids are ordered by time, so only old ones are read.
WITH gone AS (
    DELETE FROM carts c WHERE c.updated_at < now() - make_interval(secs => $2::float8) AND c.id IN (
        SELECT o.id FROM carts o WHERE o.id < $1 AND o.updated_at < now() - make_interval(secs => $2::float8)
           AND NOT EXISTS (SELECT FROM sessions s WHERE s.cart_id = o.id) ORDER BY o.id LIMIT $3) RETURNING c.id
), emptied AS (DELETE FROM cart_lines l USING gone WHERE l.cart_id = gone.id)
SELECT id FROM gone;
