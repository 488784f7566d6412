-- name: is_known_place
-- Whether this account was opened from this address before.
SELECT EXISTS (SELECT FROM login_places WHERE place = $1);

-- name: take_attempt
-- Counts one attempt and says how many there are now, unless the bucket has to wait: then no row.
INSERT INTO login_attempts AS a (bucket, failures, last_at, blocked_until) VALUES ($1, 1, now(), clock_timestamp())
ON CONFLICT (bucket) DO UPDATE
   SET failures = CASE WHEN a.last_at < now() - $2::interval THEN 1 ELSE a.failures + 1 END,
       last_at = now(),
       blocked_until = CASE WHEN a.last_at < now() - $2::interval OR a.failures < $3::integer THEN clock_timestamp()
                            ELSE clock_timestamp() + make_interval(secs => least($5::float8, $4::float8 * 2.0 ^ least(a.failures - $3::integer, 40))) END
 WHERE a.blocked_until <= clock_timestamp()  -- and not now(): we may have waited for the row
RETURNING failures;

-- name: wait_left
-- How many seconds a bucket has to wait.
SELECT coalesce((SELECT extract(epoch FROM blocked_until - clock_timestamp())::float8 FROM login_attempts WHERE bucket = $1), 0);

-- name: forget_attempts
-- Forgets what was counted.
DELETE FROM login_attempts WHERE bucket = ANY ($1::bytea[]);

-- name: give_attempt_back
-- Takes off an attempt that was right; below the free ones nobody waits.
UPDATE login_attempts SET failures = greatest(failures - 1, 0), blocked_until = CASE WHEN failures - 1 <= $2::integer THEN now() ELSE blocked_until END
 WHERE bucket = $1;

-- name: know_place
-- Notes that an account was opened from an address.
INSERT INTO login_places AS p (place) VALUES ($1)
ON CONFLICT (place) DO UPDATE SET seen_at = now() WHERE p.seen_at < now() - interval '1 day';

-- name: purge_attempts
-- Forgets old guesses, a batch at a time.
DELETE FROM login_attempts WHERE bucket IN (
    SELECT bucket FROM login_attempts WHERE last_at < now() - $1::interval AND blocked_until < now() LIMIT $2)
RETURNING 1;

-- name: purge_places
-- Forgets places that were not seen for a quarter of a year, a batch at a time.
DELETE FROM login_places WHERE place IN (SELECT place FROM login_places WHERE seen_at < now() - interval '90 days' LIMIT $1) RETURNING 1;
