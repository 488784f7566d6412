-- name: enqueue_job
-- Has a job done, now or not before a time.
INSERT INTO jobs (name, payload, due_at, next_at)
VALUES ($1, $2::jsonb, coalesce($3, now()), coalesce($3, now()))
RETURNING id;

-- name: plan_jobs
-- Repeating jobs for their present due time, unless it was planned before or an earlier one is still open.
INSERT INTO jobs (name, repeats, due_at, next_at)
SELECT d.name, true, d.due_at, d.due_at
  FROM (SELECT u.name, to_timestamp(floor(extract(epoch FROM now()) / u.every_s) * u.every_s) AS due_at
          FROM unnest($1::text[], $2::float8[]) AS u (name, every_s)) d
 WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.name = d.name AND j.repeats AND j.due_at = d.due_at)
   AND NOT EXISTS (SELECT FROM jobs j WHERE j.name = d.name AND j.repeats AND j.status IN ('waiting', 'running'))
ON CONFLICT DO NOTHING;

-- name: take_jobs
-- Takes due jobs for the length of a lease; others skip them.
UPDATE jobs j
   SET status = 'running', attempt = j.attempt + 1, next_at = now() + $3::interval, worker = $4
  FROM (SELECT id FROM jobs
         WHERE status IN ('waiting', 'running') AND next_at <= now() AND name = ANY ($1::text[])
         ORDER BY next_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) due
 WHERE j.id = due.id
RETURNING j.id, j.name, j.payload, j.due_at, j.attempt, j.attempt - j.spent AS tries;

-- name: keep_jobs
-- Lengthens the leases of those that are still ours.
UPDATE jobs j SET next_at = now() + $3::interval
  FROM unnest($1::bigint[], $2::integer[]) AS h (id, attempt)
 WHERE j.id = h.id AND j.attempt = h.attempt AND j.status = 'running'
RETURNING j.id;

-- name: finish_job
-- Writes that a job is done, if it is still ours.
UPDATE jobs SET status = 'done', said = $3, finished_at = now()
 WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING true;

-- name: fail_job
-- Writes that a job failed, if it is still ours.
UPDATE jobs
   SET status = CASE WHEN $5 THEN 'dead' ELSE 'waiting' END, said = $3, next_at = now() + $4::interval,
       finished_at = CASE WHEN $5 THEN now() END
 WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING true;

-- name: list_jobs
-- Jobs, newest first.
SELECT id, name, status, payload, repeats, due_at, next_at, attempt, worker, said, created_at, finished_at
  FROM jobs
 WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR name = $2) AND ($3::bigint IS NULL OR id < $3)
 ORDER BY id DESC LIMIT $4;

-- name: retry_job
-- Gives a dead job its attempts back, unless the clock has made its successor already.
UPDATE jobs j SET status = 'waiting', spent = attempt, next_at = now(), finished_at = NULL
 WHERE j.id = $1 AND j.status = 'dead'
   AND NOT (j.repeats AND EXISTS (
       SELECT FROM jobs o WHERE o.name = j.name AND o.repeats AND o.status IN ('waiting', 'running')))
RETURNING true;

-- name: find_job
-- One job.
SELECT id, name, status, payload, repeats, due_at, next_at, attempt, worker, said, created_at, finished_at
  FROM jobs WHERE id = $1;

-- name: known_retry
-- Whether a request's key was used before, and for the same request.
SELECT code FROM known_key($1, $2, 'retry job');

-- name: remember_retry
-- Notes that staff had a job tried again, and under which key.
WITH noted AS (INSERT INTO audit_log (action, key, detail) VALUES ('retry job', $1, $3))
INSERT INTO idempotency (key, fingerprint, kind) VALUES ($1, $2, 'retry job');

-- name: purge_jobs
-- Forgets what ended long ago, a batch at a time, but for the last one of each repeating job: it says which due time was done.
DELETE FROM jobs WHERE id IN (
    SELECT j.id FROM jobs j
     WHERE j.status IN ('done', 'dead') AND j.finished_at < now() - make_interval(secs => $1::float8)
       AND NOT (j.repeats AND j.due_at = (SELECT max(n.due_at) FROM jobs n WHERE n.name = j.name AND n.repeats))
     LIMIT $2)
RETURNING 1;
