-- name: settle_payments
-- Writes down what providers answered; idempotent, in any order.
SELECT settle_payments($1, $2, $3);

-- name: postpone_payments
-- The outcome is unknown: ask again later. (One that is being settled right now is left alone: whoever settles locks in
-- another order, and waiting for each other they would deadlock.)
UPDATE payment_intents
   SET status = 'unknown', next_attempt_at = now() + make_interval(secs => ($2::float8[])[array_position($1::uuid[], id)])
 WHERE id IN (SELECT p.id FROM payment_intents p
               WHERE p.id = ANY ($1::uuid[]) AND p.status IN ('pending', 'unknown') FOR NO KEY UPDATE SKIP LOCKED);

-- name: claim_payments
-- Takes up payments that are due, for the length of a lease; others skip them.
UPDATE payment_intents i
   SET attempts = i.attempts + 1, next_attempt_at = now() + $2::interval
  FROM (SELECT id FROM payment_intents
         WHERE status IN ('pending', 'unknown') AND next_attempt_at <= now()
         ORDER BY next_attempt_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) due
 WHERE i.id = due.id
RETURNING i.id, i.order_id, i.kind, i.amount, i.currency, i.provider, i.token, i.attempts,
          extract(epoch FROM now() - i.created_at)::float8 AS age_s,
          (SELECT o.status FROM orders o WHERE o.id = i.order_id) AS order_status;

-- name: count_payments_due
-- Payments that are not settled yet.
SELECT count(*) FROM payment_intents WHERE status IN ('pending', 'unknown');
