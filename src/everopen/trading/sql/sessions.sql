-- name: find_sessions
-- Sessions that have not expired, by the digests of their tokens.
SELECT s.token_hash, s.cart_id, s.customer_id, s.created_at, s.seen_at < now() - interval '1 hour' AS stale
  FROM unnest($1::bytea[]) AS asked (token_hash)
  CROSS JOIN LATERAL (SELECT * FROM sessions x WHERE x.token_hash = asked.token_hash OFFSET 0) s
 WHERE s.expires_at > now();

-- name: touch_session
-- Moves a session's end away, at most once an hour.
UPDATE sessions SET seen_at = now(), expires_at = now() + $2::interval WHERE token_hash = $1 AND seen_at < now() - interval '1 hour';

-- name: open_cart
-- A new, empty cart.
INSERT INTO carts (id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: open_session
-- A session over a cart; only the digest of its token is kept.
INSERT INTO sessions (token_hash, cart_id, customer_id, expires_at) VALUES ($1, $2, $3, now() + $4::interval)
ON CONFLICT (token_hash) DO NOTHING;

-- name: close_session
-- Forgets a session.
DELETE FROM sessions WHERE token_hash = $1;

-- name: close_sessions_of
-- Forgets all sessions of a customer but one.
DELETE FROM sessions WHERE customer_id = $1 AND token_hash IS DISTINCT FROM $2 RETURNING 1;
