-- name: trial_balance
-- What each account holds in each currency at a time.
SELECT currency, account,
       coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::bigint AS debit,
       coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::bigint AS credit,
       sum(amount)::bigint AS balance,
       count(*) AS entries
  FROM ledger_entries WHERE posted_at < $1
 GROUP BY currency, account ORDER BY currency, account;

-- name: opening_balance
-- What an account held before a time.
SELECT coalesce(sum(amount), 0)::bigint FROM ledger_entries WHERE account = $1 AND currency = $2 AND posted_at < $3;

-- name: statement
-- An account's entries in a period, oldest first.
SELECT posted_at, event, order_id, refund_id, intent_id, amount
  FROM ledger_entries WHERE account = $1 AND currency = $2 AND posted_at >= $3 AND posted_at < $4
 ORDER BY posted_at, order_id NULLS LAST, refund_id NULLS LAST, intent_id NULLS LAST, event, amount;

-- name: our_day
-- Money that our ledger says moved at a provider in a time, one row per order (captures) or refund.
SELECT CASE WHEN e.refund_id IS NULL THEN 'capture' ELSE 'refund' END AS kind, i.id, e.currency,
       sum(CASE WHEN e.refund_id IS NULL THEN e.amount ELSE -e.amount END)::bigint AS amount
  FROM ledger_entries e JOIN payment_intents i ON i.id = coalesce(e.refund_id, e.order_id)
 WHERE e.account = 'cash' AND e.posted_at >= $1 AND e.posted_at < $2 AND i.provider = $3
 GROUP BY 1, 2, 3;

-- name: our_payments
-- What we hold to have moved for these orders and refunds until now, and since when we know of them.
SELECT i.id, i.kind, i.currency, i.created_at,
       CASE WHEN i.kind = 'refund' THEN CASE WHEN i.status = 'refunded' THEN i.amount ELSE 0 END
            WHEN i.status = 'captured' THEN i.amount
            ELSE coalesce((SELECT sum(c.amount) FROM payment_intents c
                            WHERE c.order_id = i.id AND c.kind = 'capture' AND c.status = 'captured'), 0) END::bigint AS amount
  FROM payment_intents i
 WHERE i.id = ANY ($1::uuid[]) AND i.provider = $2 AND i.kind IN ('charge', 'authorise', 'refund');

-- name: first_payment_day
-- Since when (UTC) this shop asks a provider for money.
SELECT (min(created_at) AT TIME ZONE 'UTC')::date FROM payment_intents WHERE provider = $1;

-- name: reported_days
-- The days for which there is a report.
SELECT DISTINCT day FROM reconciliations WHERE provider = $1 AND day >= $2;

-- name: add_reconciliation
-- A report of a day.
INSERT INTO reconciliations (id, provider, day, movements, differences_n, sums, differences)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING made_at;

-- name: reconciliations
-- Reports, newest first.
SELECT id, provider, day, made_at, movements, differences_n, sums, differences FROM reconciliations
 WHERE ($1::timestamptz IS NULL OR (made_at, id) < ($1, $2::uuid)) AND ($3::text IS NULL OR provider = $3)
 ORDER BY made_at DESC, id DESC LIMIT $4;
