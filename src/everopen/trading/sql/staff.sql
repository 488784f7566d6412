-- name: find_staff_by_login
-- An account by its login.
SELECT * FROM staff WHERE login_key = $1;

-- name: find_staff
-- An account.
SELECT * FROM staff WHERE id = $1;

-- name: lock_staff
-- An account, locked.
SELECT * FROM staff WHERE id = $1 FOR NO KEY UPDATE;

-- name: list_staff
-- All accounts, by login.
SELECT * FROM staff ORDER BY login_key;

-- name: add_staff
-- A new account.
INSERT INTO staff (id, login, login_key, name, roles, password_hash) VALUES ($1, $2, $3, $4, $5, $6) RETURNING *;

-- name: set_staff
-- Another name, other roles, let in or not.
UPDATE staff SET name = $2, roles = $3, active = $4 WHERE id = $1 RETURNING *;

-- name: set_staff_password
-- Another password; `$3`: it was given by somebody else and has to be changed.
UPDATE staff SET password_hash = $2, must_change_password = $3 WHERE id = $1 RETURNING *;

-- name: note_login
-- When somebody was last here.
UPDATE staff SET last_login_at = now(), password_hash = $2 WHERE id = $1;

-- name: take_step
-- Takes a code's time step, unless it or a later one was taken: of two logins with one code one comes second.
UPDATE staff SET totp_counter = $2 WHERE id = $1 AND totp_counter < $2 RETURNING 1;

-- name: offer_secret
-- Shows a secret that has no effect before it was confirmed.
UPDATE staff SET totp_offered = $2 WHERE id = $1 RETURNING 1;

-- name: take_offered
-- The secret that was shown is the second factor from now on.
UPDATE staff SET totp_secret = totp_offered, totp_offered = NULL, totp_counter = $2 WHERE id = $1 AND totp_offered = $3 RETURNING *;

-- name: drop_second_factor
-- No second factor: somebody lost the telephone and the codes.
UPDATE staff SET totp_secret = NULL, totp_offered = NULL WHERE id = $1;

-- name: drop_recovery_codes
-- No recovery codes.
DELETE FROM staff_recovery_codes WHERE staff_id = $1;

-- name: add_recovery_codes
-- New recovery codes.
INSERT INTO staff_recovery_codes (code_hash, staff_id) SELECT code, $2 FROM unnest($1::bytea[]) AS codes (code);

-- name: use_recovery_code
-- Uses a recovery code; whoever comes second finds it used.
UPDATE staff_recovery_codes SET used_at = now() WHERE code_hash = $1 AND staff_id = $2 AND used_at IS NULL RETURNING 1;

-- name: count_recovery_codes
-- How many are left.
SELECT count(*) FROM staff_recovery_codes WHERE staff_id = $1 AND used_at IS NULL;

-- name: open_staff_session
-- A session; only the digest of its token is kept.
INSERT INTO staff_sessions (id, token_hash, staff_id, address, expires_at) VALUES ($1, $2, $3, $4, now() + $5::interval) RETURNING expires_at;

-- name: renew_staff_session
-- Another token for a session that was opened a moment ago, whose answer was lost.
UPDATE staff_sessions SET token_hash = $2 WHERE id = $1 AND created_at > now() - interval '2 minutes' RETURNING expires_at;

-- name: close_staff_session
-- Ends a session.
DELETE FROM staff_sessions WHERE id = $1;

-- name: close_staff_sessions
-- Ends all sessions of an account but one.
DELETE FROM staff_sessions WHERE staff_id = $1 AND id IS DISTINCT FROM $2;

-- name: find_staff_session
-- Who a session's token stands for.
SELECT s.id AS session_id, a.id, a.login, a.roles, a.must_change_password, a.totp_secret IS NOT NULL AS second_factor,
       s.seen_at < now() - interval '1 minute' AS stale
  FROM staff_sessions s JOIN staff a ON a.id = s.staff_id
 WHERE s.token_hash = $1 AND a.active AND s.expires_at > now() AND s.seen_at > now() - $2::interval;

-- name: touch_staff_session
-- Notes that a session was used, at most once a minute.
UPDATE staff_sessions SET seen_at = now() WHERE id = $1 AND seen_at < now() - interval '1 minute';

-- name: purge_staff_sessions
-- Forgets sessions that have ended, a batch at a time.
DELETE FROM staff_sessions WHERE id IN (SELECT id FROM staff_sessions WHERE expires_at < now() LIMIT $1) RETURNING 1;

-- name: find_api_key
-- What a key's token may do, and who made it.
SELECT k.id, k.name, k.scopes, k.maker, a.roles, k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS stale
  FROM api_keys k LEFT JOIN staff a ON a.id = k.maker
 WHERE k.token_hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND (k.maker IS NULL OR a.active);

-- name: touch_api_key
-- Notes that a key was used, at most once a minute.
UPDATE api_keys SET last_used_at = now() WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: add_api_key
-- A new key; only the digest of its token is kept.
INSERT INTO api_keys (id, name, token_hash, scopes, maker, made_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval)
RETURNING *;

-- name: renew_api_key
-- Another token for a key that was never used, whose answer was lost.
UPDATE api_keys SET token_hash = $2 WHERE id = $1 AND last_used_at IS NULL AND revoked_at IS NULL RETURNING *;

-- name: find_key_by_id
-- A key.
SELECT * FROM api_keys WHERE id = $1;

-- name: list_api_keys
-- All keys, newest first.
SELECT * FROM api_keys ORDER BY id DESC;

-- name: revoke_api_key
-- Ends a key; one that has ended stays as it is.
UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING *;
