-- name: settle_payments
-- Writes down what providers answered; idempotent, in any order.
SELECT settle_payments($1, $2, $3);

-- name: overturn_payment
-- The provider took back what it had approved (a hold that lapsed, a refund that came back).
SELECT overturn_payment($1, $2);

-- name: postpone_payments
-- The outcome is unknown: ask again later, by the name that the provider gave it, where it did. (One that is being settled
-- right now is left alone: whoever settles locks in another order, and waiting for each other they would deadlock.)
UPDATE payment_intents
   SET status = 'unknown', next_attempt_at = now() + make_interval(secs => ($2::float8[])[array_position($1::uuid[], id)]),
       provider_reference = coalesce(nullif(($3::text[])[array_position($1::uuid[], id)], ''), provider_reference)
 WHERE id IN (SELECT p.id FROM payment_intents p
               WHERE p.id = ANY ($1::uuid[]) AND p.status IN ('pending', 'unknown') FOR NO KEY UPDATE SKIP LOCKED);

-- name: claim_payments
-- Takes up payments that are due, for the length of a lease; others skip them. Only of providers that this worker may ask now,
-- and an order's last capture (which gives back what it leaves) only after its other captures.
UPDATE payment_intents i
   SET attempts = i.attempts + 1, next_attempt_at = now() + $2::interval
  FROM (SELECT id FROM payment_intents p
         WHERE status IN ('pending', 'unknown') AND next_attempt_at <= now() AND provider = ANY ($3::text[])
           AND (final IS NOT TRUE OR NOT EXISTS (
                   SELECT FROM payment_intents c
                    WHERE c.order_id = p.order_id AND c.kind = 'capture' AND c.status IN ('pending', 'unknown') AND c.id <> p.id))
         ORDER BY next_attempt_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) due
 WHERE i.id = due.id
RETURNING i.id, i.order_id, i.kind, i.amount, i.currency, i.provider, i.token, i.attempts, i.provider_reference, i.final,
          extract(epoch FROM now() - i.created_at)::float8 AS age_s,
          (SELECT f.provider_reference FROM payment_intents f WHERE f.id = i.order_id) AS charge_reference,
          (SELECT o.status FROM orders o WHERE o.id = i.order_id) AS order_status;

-- name: find_payment
-- One payment, as its provider is asked about it.
SELECT i.id, i.order_id, i.kind, i.status, i.amount, i.currency, i.provider, i.token, i.provider_reference, i.final,
       extract(epoch FROM now() - i.created_at)::float8 AS age_s,
       (SELECT f.provider_reference FROM payment_intents f WHERE f.id = i.order_id) AS charge_reference
  FROM payment_intents i WHERE i.id = $1;

-- name: hurry_payments
-- Something happened to this order's money: what is still open of it is asked for at once.
UPDATE payment_intents SET next_attempt_at = now()
 WHERE id IN (SELECT p.id FROM payment_intents p
               WHERE p.order_id = $1 AND p.kind <> 'charge' AND p.status IN ('pending', 'unknown') AND p.next_attempt_at > now()
                 FOR NO KEY UPDATE SKIP LOCKED);

-- name: count_payments_due
-- Payments that are not settled yet.
SELECT count(*) FROM payment_intents WHERE status IN ('pending', 'unknown');

-- name: capture_order
-- Asks for (a part of) what was authorised.
SELECT * FROM capture_order($1, $2, $3, $4, $5, $6, $7);

-- name: void_order
-- Gives back what is authorised and not captured.
SELECT * FROM void_order($1, $2, $3, $4, $5, $6);

-- name: retry_payment
-- Takes up a void or a refund that was declined.
SELECT * FROM retry_payment($1, $2, $3, $4, $5, $6);

-- name: payments_of_order
-- All payments of an order, oldest first.
SELECT i.id, i.order_id, i.kind, i.status, i.amount, i.currency, i.provider, i.provider_reference, i.attempts, i.created_at, i.settled_at,
       i.retry_of, (SELECT n.id FROM payment_intents n WHERE n.retry_of = i.id) AS retried_by
  FROM payment_intents i
 WHERE i.id = $1 OR (i.order_id = $1 AND i.kind <> 'charge')
 ORDER BY i.created_at, i.id;

-- name: one_payment
-- One payment for staff.
SELECT i.id, i.order_id, i.kind, i.status, i.amount, i.currency, i.provider, i.provider_reference, i.attempts, i.created_at, i.settled_at,
       i.retry_of, (SELECT n.id FROM payment_intents n WHERE n.retry_of = i.id) AS retried_by
  FROM payment_intents i WHERE i.id = $1;

-- name: failed_payments
-- What needs a person: refunds and voids that were declined and not taken up, captures that were declined while their order still
-- waits for one, and payments whose outcome has been unknown for too long.
SELECT i.id, i.order_id, i.kind, i.status, i.amount, i.currency, i.provider, i.provider_reference, i.attempts, i.created_at, i.settled_at,
       i.retry_of, NULL::uuid AS retried_by
  FROM (SELECT * FROM payment_intents WHERE status = 'declined' AND kind IN ('capture', 'void', 'refund')
        UNION ALL
        SELECT * FROM payment_intents
         WHERE status IN ('pending', 'unknown') AND created_at < now() - make_interval(secs => $3::float8)) i
 WHERE i.id > $1
   AND NOT EXISTS (SELECT FROM payment_intents n WHERE n.retry_of = i.id)
   AND (i.status <> 'declined' OR i.kind <> 'capture'
        OR EXISTS (SELECT FROM orders o WHERE o.id = i.order_id AND o.status = 'authorised'))
 ORDER BY i.id LIMIT $2;

-- name: old_authorisations
-- Orders whose authorisation will lapse soon and of which nothing is captured or being captured, oldest first.
SELECT o.id FROM payment_intents i JOIN orders o ON o.id = i.order_id
 WHERE i.kind = 'authorise' AND i.status = 'authorised' AND i.settled_at < now() - make_interval(secs => $1::float8)
   AND o.status = 'authorised' AND may_cancel(o)
 ORDER BY i.settled_at LIMIT $2;
