-- name: relay
-- Moves what is in the outbox to the events, in the order of its commits.
SELECT relay_events($1);

-- name: purge_events
-- Forgets a batch of old events.
SELECT purge_events($1, $2);

-- name: bounds
-- The oldest number that is forgotten and the newest that is given out.
SELECT purged_seq, last_seq FROM event_relay;

-- name: read_events
-- Events after a number, up to another, of some topics (none: of all, whatever they hold).
SELECT seq, topic, subject, stream, payload, created_at FROM events
 WHERE seq > $1 AND seq <= $2 AND (cardinality($3::text[]) = 0 OR topic = ANY ($3))
 ORDER BY seq LIMIT $4;

-- name: read_stream
-- Events of one order after a number.
SELECT seq, topic, subject, stream, payload, created_at FROM events
 WHERE stream = $1 AND seq > $2 AND seq <= $3 AND topic = ANY ($4::text[]) ORDER BY seq LIMIT $5;

-- name: read_some
-- Events by their numbers.
SELECT seq, topic, subject, stream, payload, created_at FROM events WHERE seq = ANY ($1::bigint[]) ORDER BY seq;

-- name: order_facts
-- Orders as they stand, with their lines.
SELECT o.id, o.status, o.currency, o.total, o.email, o.placed_at, o.reference,
       l.skus, l.titles, l.quantities, l.prices
  FROM orders o
  LEFT JOIN LATERAL (
      SELECT array_agg(p.sku ORDER BY x.line_no) AS skus, array_agg(x.title ORDER BY x.line_no) AS titles,
             array_agg(x.quantity ORDER BY x.line_no) AS quantities, array_agg(x.unit_price ORDER BY x.line_no) AS prices
        FROM order_lines x JOIN products p ON p.id = x.sku_id WHERE x.order_id = o.id) l ON true
 WHERE o.id = ANY ($1::uuid[]);

-- name: refund_facts
-- Refunds and credits as they stand, with their lines.
SELECT r.id, r.order_id, r.currency, r.amount, r.reason, i.status,
       l.skus, l.titles, l.quantities, l.prices
  FROM refunds r
  LEFT JOIN payment_intents i ON i.id = r.id
  LEFT JOIN LATERAL (
      SELECT array_agg(p.sku ORDER BY x.line_no) AS skus, array_agg(x.title ORDER BY x.line_no) AS titles,
             array_agg(x.quantity ORDER BY x.line_no) AS quantities, array_agg(x.unit_price ORDER BY x.line_no) AS prices
        FROM refund_lines x JOIN products p ON p.id = x.sku_id WHERE x.refund_id = r.id) l ON true
 WHERE r.id = ANY ($1::uuid[]);

-- name: payment_facts
-- Payments as they stand.
SELECT id, order_id, kind, status, amount, currency, provider FROM payment_intents WHERE id = ANY ($1::uuid[]);

-- name: known_key
-- Whether a request's key was used before, and for the same request.
SELECT code, result_id FROM known_key($1, $2, $3);

-- name: remember_key
-- Notes a request as carried out.
INSERT INTO idempotency (key, fingerprint, kind, result_id) VALUES ($1, $2, $3, $4);

-- name: note_audit
-- What staff did.
INSERT INTO audit_log (action, key, subject, detail) VALUES ($1, $2, $3, $4);

-- name: add_subscriber
-- A new subscriber hears what happens from now on.
INSERT INTO subscribers (id, url, topics, description, secret, position)
SELECT $1, $2, $3, $4, $5, r.last_seq FROM event_relay r;

-- name: find_subscribers
-- Subscribers with what waits for them and what is dead; one, or all after an id.
SELECT s.id, s.url, s.topics, s.description, s.status, s.reason, s.position, s.failures, s.failing_since, s.created_at,
       greatest(r.last_seq - s.position, 0) AS behind,
       (SELECT count(*) FROM deliveries d WHERE d.subscriber_id = s.id AND d.status = 'waiting') AS waiting,
       (SELECT count(*) FROM deliveries d WHERE d.subscriber_id = s.id AND d.status = 'dead') AS dead
  FROM subscribers s CROSS JOIN event_relay r
 WHERE ($1::uuid IS NULL OR s.id = $1) AND ($2::uuid IS NULL OR s.id > $2)
 ORDER BY s.id LIMIT $3;

-- name: subscriber_secret
-- What a new subscriber is told once.
SELECT secret FROM subscribers WHERE id = $1;

-- name: remove_subscriber
-- It hears nothing more; what waited for it goes with it.
DELETE FROM subscribers WHERE id = $1 RETURNING id;

-- name: resume_subscriber
-- Takes a paused subscriber up again, where it stopped.
UPDATE subscribers SET status = 'active', reason = '', failures = 0, failing_since = NULL, next_at = now()
 WHERE id = $1 RETURNING id;

-- name: rewind_subscriber
-- Sends everything after a number again; whoever serves it now is overtaken.
UPDATE subscribers SET position = least(position, $2), lease = lease + 1, next_at = now(), failures = 0
 WHERE id = $1 RETURNING id;

-- name: drop_rewound
-- What is sent again anyway need not wait or be dead.
DELETE FROM deliveries WHERE subscriber_id = $1 AND seq > $2;

-- name: revive_deliveries
-- Dead letters are sent again.
UPDATE deliveries SET status = 'waiting', attempts = 0, next_at = now(), changed_at = now()
 WHERE subscriber_id = $1 AND status = 'dead' RETURNING seq;

-- name: list_deliveries
-- What waits and what is dead, newest first.
SELECT d.seq, d.status, d.attempts, d.next_at, d.problem, d.changed_at, e.topic, e.subject, e.created_at
  FROM deliveries d JOIN events e ON e.seq = d.seq
 WHERE d.subscriber_id = $1 AND ($2::text IS NULL OR d.status = $2) AND ($3::bigint IS NULL OR d.seq < $3)
 ORDER BY d.seq DESC LIMIT $4;

-- name: take_subscribers
-- Takes up subscribers that something waits for; others skip them until the lease ends.
UPDATE subscribers s SET lease = s.lease + 1, next_at = now() + $2::interval
  FROM (SELECT x.id FROM subscribers x
         WHERE x.status = 'active' AND x.next_at <= now()
           AND (x.position < (SELECT r.last_seq FROM event_relay r)
                OR EXISTS (SELECT FROM deliveries d WHERE d.subscriber_id = x.id AND d.status = 'waiting' AND d.next_at <= now()))
         ORDER BY x.next_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) due
 WHERE s.id = due.id
RETURNING s.id, s.url, s.topics, s.secret, s.position, s.failures, s.failing_since, s.lease;

-- name: due_deliveries
-- Failed events whose pause is over, but only the first of each order: the later ones wait for it.
SELECT d.seq, d.attempts FROM deliveries d
 WHERE d.subscriber_id = $1 AND d.status = 'waiting' AND d.next_at <= now()
   AND NOT EXISTS (SELECT FROM deliveries e
                    WHERE e.subscriber_id = d.subscriber_id AND e.status = 'waiting' AND e.stream = d.stream AND e.seq < d.seq)
 ORDER BY d.next_at LIMIT $2;

-- name: held_streams
-- Orders of which an event waits: how many events, and the orders' ids.
SELECT count(*) AS held, coalesce(array_agg(DISTINCT stream), '{}') AS streams, min(next_at) AS first_due
  FROM deliveries WHERE subscriber_id = $1 AND status = 'waiting';

-- name: move_subscriber
-- Writes how far it got and keeps the lease; no row when another worker has it by now.
UPDATE subscribers
   SET position = $3, failures = $4, next_at = now() + $5::interval,
       failing_since = CASE WHEN $4 = 0 THEN NULL ELSE coalesce(failing_since, now()) END
 WHERE id = $1 AND lease = $2 AND status = 'active'
RETURNING extract(epoch FROM now() - failing_since)::float8 AS failing_s;

-- name: release_subscriber
-- Gives it back, for a while or at once.
UPDATE subscribers SET next_at = now() + $3::interval WHERE id = $1 AND lease = $2 AND status = 'active';

-- name: pause_subscriber
-- It gets nothing more until staff resume it.
UPDATE subscribers SET status = 'paused', reason = $3 WHERE id = $1 AND lease = $2 RETURNING id;

-- name: drop_deliveries
-- What went through at last.
DELETE FROM deliveries WHERE subscriber_id = $1 AND seq = ANY ($2::bigint[]);

-- name: hold_deliveries
-- What failed, or stands behind what failed.
INSERT INTO deliveries (subscriber_id, seq, stream, status, attempts, next_at, problem)
SELECT $1, u.seq, u.stream, CASE WHEN u.dead THEN 'dead' ELSE 'waiting' END, u.attempts,
       now() + make_interval(secs => u.pause_s), u.problem
  FROM unnest($2::bigint[], $3::uuid[], $4::integer[], $5::float8[], $6::text[], $7::boolean[])
    AS u (seq, stream, attempts, pause_s, problem, dead)
ON CONFLICT (subscriber_id, seq) DO UPDATE
   SET status = excluded.status, attempts = excluded.attempts, next_at = excluded.next_at, problem = excluded.problem,
       changed_at = now();

-- name: hurry_deliveries
-- The subscriber is back: what waits need not wait longer.
UPDATE deliveries SET next_at = now() WHERE subscriber_id = $1 AND status = 'waiting' AND next_at > now();

-- name: keep_subscribers
-- Lengthens the leases of those that are still ours.
UPDATE subscribers s SET next_at = now() + $3::interval
  FROM unnest($1::uuid[], $2::integer[]) AS h (id, lease)
 WHERE s.id = h.id AND s.lease = h.lease AND s.status = 'active'
RETURNING s.id;
