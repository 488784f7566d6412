-- name: known_key
-- Whether a key was used before, for the same request, and what that made.
SELECT code, result_id FROM known_key($1, $2, $3);

-- name: keep_key
-- Notes a key.
INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES ($1, $2, $3, $4);

-- name: announce
-- An event.
INSERT INTO outbox (topic, subject, payload) VALUES ($1, $2, $3::jsonb);

-- name: note
-- A row of the audit log; without an actor, the connection knows who it is.
INSERT INTO audit_log (actor, action, key, subject, detail) VALUES ($1, $2, $3, $4, $5);

-- name: list_audit_log
-- Rows of the audit log before a row, newest first.
SELECT sequence, happened_at, actor, action, key, subject, detail, encode(digest, 'hex') AS digest
  FROM audit_log
 WHERE ($1::bigint IS NULL OR sequence < $1) AND ($2::text IS NULL OR actor = $2) AND ($3::text IS NULL OR action = $3)
 ORDER BY sequence DESC LIMIT $4;
