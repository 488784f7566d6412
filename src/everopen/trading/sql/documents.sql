-- name: issue_invoices
-- Writes the invoices of these orders, or (NULL) of the next that were paid.
SELECT issue_invoices($1::uuid[], $2, $3::jsonb, $4, $5);

-- name: issue_credit_notes
-- Writes the credit notes of these refunds, or (NULL) of all that lack one.
SELECT issue_credit_notes($1::uuid[], $2, $3, $4::jsonb, $5);

-- name: invoice_of
-- An order's invoice as it was issued; no row when there is no such order, NULL when it has none.
SELECT o.status, was_paid(o.id, o.status) AS was_paid, d.content::text AS content
  FROM orders o LEFT JOIN documents d ON d.order_id = o.id AND d.kind = 'invoice'
 WHERE o.id = $1;

-- name: refunds_of
-- What was given back of an order.
SELECT id FROM refunds WHERE order_id = $1 ORDER BY created_at, id;

-- name: credit_notes_of
-- An order's credit notes as they were issued.
SELECT content::text AS content FROM documents WHERE order_id = $1 AND kind = 'credit_note' ORDER BY issued_at, year, number;
