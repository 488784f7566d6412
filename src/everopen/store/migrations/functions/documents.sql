-- Invoices and credit notes, with numbers that have no gaps.
--
-- A sequence leaves gaps (a transaction that fails has taken its number), so the next number is a row: whoever issues holds it
-- until the document is committed, and so one issues at a time. Orders are not made to wait for that: they are invoiced after
-- they were paid, in the order of payment, in batches. What was printed is kept as it was printed: seller and rules change.

-- next_numbers: takes so many numbers of a series; answers the last one before them. Held until the end of the transaction.
CREATE FUNCTION next_numbers(p_series text, p_year integer, p_count integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    before integer;
BEGIN
    UPDATE document_series SET last = last + p_count WHERE series = p_series AND year = p_year RETURNING last - p_count INTO before;
    RETURN before;
END
$$;

-- hold_series: makes this transaction the only one that issues of a series in this year. Looked at after it: what is issued.
CREATE FUNCTION hold_series(p_series text, OUT year integer)
LANGUAGE plpgsql AS $$
BEGIN
    year := extract(year FROM now() AT TIME ZONE 'UTC');
    INSERT INTO document_series (series, year) VALUES (p_series, hold_series.year) ON CONFLICT DO NOTHING;
    PERFORM FROM document_series d WHERE d.series = p_series AND d.year = hold_series.year FOR NO KEY UPDATE;
END
$$;

-- document_number: as people write it: INV-2026-000042.
CREATE FUNCTION document_number(p_series text, p_year integer, p_number integer) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT format('%s-%s-%s', p_series, p_year, lpad(p_number::text, greatest(6, length(p_number::text)), '0')) $$;

-- taxes_of: net and tax per rate, of lines (as in a document's content) and of shipping, whose rate is not recorded: NULL.
CREATE FUNCTION taxes_of(p_lines jsonb, p_shipping bigint, p_shipping_tax bigint) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('rate_bp', t.rate_bp, 'net', t.net, 'tax', t.tax) ORDER BY t.rate_bp NULLS LAST), '[]')
      FROM (SELECT (l.value ->> 'tax_rate_bp')::integer AS rate_bp,
                   sum((l.value ->> 'amount')::bigint - (l.value ->> 'tax')::bigint)::bigint AS net,
                   sum((l.value ->> 'tax')::bigint)::bigint AS tax
              FROM jsonb_array_elements(p_lines) l GROUP BY 1
            UNION ALL
            SELECT NULL, p_shipping - p_shipping_tax, p_shipping_tax WHERE p_shipping > 0) t
     WHERE t.net <> 0 OR t.tax <> 0
$$;

-- issue_invoices: writes the invoices of these orders, or (NULL) of the next ones that were paid; orders that have one, or
-- were never paid, are left out. Answers how many it wrote; as long as these are some, there may be more. Orders that are paid
-- while it looks come in the next round. p_look_back: a round begins. A payment's time is that of its transaction's
-- beginning, and a commit may wait for its standby: so a round looks back a little, and the first one of a day by far.
CREATE FUNCTION issue_invoices(p_orders uuid[], p_series text, p_seller jsonb, p_limit integer, p_look_back boolean) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    this_year integer := hold_series(p_series);
    upto timestamptz := now() - interval '1 second';
    marks invoicing;
    from_time timestamptz;
    slice_end timestamptz;
    slice interval := interval '1 minute';
    todo uuid[];
    last_paid timestamptz;
    before integer;
BEGIN
    IF p_orders IS NULL THEN
        SELECT * INTO marks FROM invoicing;
        from_time := greatest(marks.since, marks.done_to - CASE
            WHEN NOT p_look_back THEN interval '0'
            WHEN date_trunc('day', upto) > marks.done_to THEN interval '2 days'
            ELSE interval '2 minutes' END);
        IF from_time = '-infinity' THEN
            SELECT coalesce(min(o.settled_at), upto) INTO from_time FROM orders o;
        END IF;
        -- Slice by slice, so that a batch costs its own orders and not the whole backlog.
        LOOP
            slice_end := least(upto, from_time + slice);
            SELECT array_agg(c.id ORDER BY c.settled_at, c.id), max(c.settled_at) INTO todo, last_paid
              FROM (SELECT o.id, o.settled_at FROM orders o
                     WHERE o.settled_at >= from_time AND o.settled_at < slice_end
                       AND (o.status IN ('paid', 'partly_shipped', 'shipped', 'completed', 'returned')
                            OR (o.status = 'cancelled' AND was_paid(o.id, o.status)))
                       AND NOT EXISTS (SELECT FROM documents d WHERE d.order_id = o.id AND d.kind = 'invoice')
                     ORDER BY o.settled_at, o.id LIMIT p_limit) c;
            EXIT WHEN todo IS NOT NULL OR slice_end >= upto;
            from_time := slice_end;
            slice := slice * 4;
        END LOOP;
        UPDATE invoicing SET done_to = CASE WHEN coalesce(cardinality(todo), 0) < p_limit THEN slice_end ELSE last_paid END;
    ELSE
        SELECT array_agg(o.id ORDER BY o.settled_at, o.id) INTO todo FROM orders o
         WHERE o.id = ANY (p_orders) AND was_paid(o.id, o.status)
           AND NOT EXISTS (SELECT FROM documents d WHERE d.order_id = o.id AND d.kind = 'invoice');
    END IF;
    IF todo IS NULL THEN
        RETURN 0;
    END IF;
    before := next_numbers(p_series, this_year, cardinality(todo));
    INSERT INTO documents (series, year, number, kind, order_id, currency, total, content)
    SELECT p_series, this_year, before + k.ord, 'invoice', o.id, o.currency, m.captured, jsonb_build_object(
               'number', document_number(p_series, this_year, (before + k.ord)::integer), 'kind', 'invoice', 'issued_at', now(),
               'seller', p_seller, 'email', o.email, 'ship_to', o.ship_to, 'order_id', o.id, 'reference', o.reference,
               'ordered_at', o.placed_at, 'paid_at', o.settled_at, 'currency', o.currency, 'lines', l.lines,
               'shipping', s.charge, 'shipping_tax', s.tax, 'shipping_method', o.shipping_method,
               'tax_added', coalesce(o.tax_added, false), 'taxes', taxes_of(l.lines, s.charge, s.tax),
               'waived', o.total - m.captured, 'tax', m.tax, 'net', m.captured - m.tax, 'total', m.captured)
      FROM unnest(todo) WITH ORDINALITY AS k (id, ord)
      JOIN orders o ON o.id = k.id
      CROSS JOIN LATERAL (SELECT captured_of(o.id, o.total) AS captured OFFSET 0) c
      -- (The tax of what was waived is rounded down, as the ledger has it.)
      CROSS JOIN LATERAL (
          SELECT c.captured, coalesce(o.tax, 0) - share_of(coalesce(o.tax, 0), o.total - c.captured, o.total) * (c.captured < o.total)::integer AS tax) m
      CROSS JOIN LATERAL (
          SELECT coalesce(o.shipping, 0) + CASE WHEN o.tax_added THEN coalesce(o.shipping_tax, 0) ELSE 0 END AS charge,
                 coalesce(o.shipping_tax, 0) AS tax) s
      CROSS JOIN LATERAL (
          SELECT jsonb_agg(jsonb_build_object(
                     'sku', p.sku, 'title', x.title, 'quantity', x.quantity, 'unit_price', x.unit_price,
                     'discount', coalesce(x.discount, 0), 'tax_rate_bp', coalesce(x.tax_rate_bp, 0), 'tax', coalesce(x.tax, 0),
                     'amount', x.quantity * x.unit_price - coalesce(x.discount, 0)
                               + CASE WHEN o.tax_added THEN coalesce(x.tax, 0) ELSE 0 END) ORDER BY x.line_no) AS lines
            FROM order_lines x JOIN products p ON p.id = x.sku_id WHERE x.order_id = o.id) l;
    RETURN cardinality(todo);
END
$$;

-- issue_credit_notes: the same for what was given back; the invoices that they are about are issued before. NULL: all that lack
-- one, and were made since this shop writes documents.
CREATE FUNCTION issue_credit_notes(
    p_refunds uuid[], p_series text, p_invoice_series text, p_seller jsonb, p_limit integer
) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    todo uuid[];
    this_year integer;
    before integer;
BEGIN
    SELECT array_agg(c.order_id) INTO todo FROM (
        SELECT DISTINCT r.order_id FROM refunds r, invoicing i
         WHERE (r.id = ANY (p_refunds) OR (p_refunds IS NULL AND r.created_at >= i.since)) AND r.order_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM documents d WHERE d.refund_id = r.id AND d.kind = 'credit_note')
           AND NOT EXISTS (SELECT FROM documents d WHERE d.order_id = r.order_id AND d.kind = 'invoice') LIMIT p_limit) c;
    IF todo IS NOT NULL THEN
        PERFORM issue_invoices(todo, p_invoice_series, p_seller, p_limit, false);
    END IF;
    this_year := hold_series(p_series);
    SELECT array_agg(c.id ORDER BY c.created_at, c.id) INTO todo
      FROM (SELECT r.id, r.created_at FROM refunds r, invoicing i
             WHERE (r.id = ANY (p_refunds) OR (p_refunds IS NULL AND r.created_at >= i.since))
               AND NOT EXISTS (SELECT FROM documents d WHERE d.refund_id = r.id AND d.kind = 'credit_note')
               AND (r.order_id IS NULL OR EXISTS (SELECT FROM documents d WHERE d.order_id = r.order_id AND d.kind = 'invoice'))
             ORDER BY r.created_at, r.id LIMIT p_limit) c;
    IF todo IS NULL THEN
        RETURN 0;
    END IF;
    before := next_numbers(p_series, this_year, cardinality(todo));
    INSERT INTO documents (series, year, number, kind, order_id, refund_id, currency, total, content)
    SELECT p_series, this_year, before + k.ord, 'credit_note', r.order_id, r.id, r.currency, r.amount, jsonb_build_object(
               'number', document_number(p_series, this_year, (before + k.ord)::integer), 'kind', 'credit_note', 'issued_at', now(),
               'seller', p_seller, 'email', r.email, 'order_id', r.order_id, 'refund_id', r.id, 'invoice', i.content -> 'number',
               'ship_to', i.content -> 'ship_to', 'reference', r.reference, 'reason', r.reason, 'given_back_at', r.created_at,
               'currency', r.currency, 'lines', l.lines, 'shipping', s.charge, 'shipping_tax', s.tax,
               'tax_added', coalesce(i.content -> 'tax_added', 'false'),
               'taxes', taxes_of(l.lines, s.charge, s.tax),
               'tax', coalesce(r.tax, 0), 'net', r.amount - coalesce(r.tax, 0), 'total', r.amount)
      FROM unnest(todo) WITH ORDINALITY AS k (id, ord)
      JOIN refunds r ON r.id = k.id
      LEFT JOIN documents i ON i.order_id = r.order_id AND i.kind = 'invoice'
      CROSS JOIN LATERAL (SELECT coalesce(r.shipping, 0) AS charge, coalesce(r.shipping_tax, 0) AS tax) s
      CROSS JOIN LATERAL (
          SELECT coalesce(jsonb_agg(jsonb_build_object(
                     'sku', p.sku, 'title', x.title, 'quantity', x.quantity, 'unit_price', x.unit_price, 'discount', 0,
                     'tax_rate_bp', coalesce(ol.tax_rate_bp, 0), 'tax', coalesce(x.tax, 0),
                     'amount', coalesce(x.amount, x.quantity * x.unit_price)) ORDER BY x.line_no), '[]') AS lines
            FROM refund_lines x JOIN products p ON p.id = x.sku_id
            LEFT JOIN order_lines ol ON ol.order_id = r.order_id AND ol.line_no = x.order_line_no
           WHERE x.refund_id = r.id) l;
    RETURN cardinality(todo);
END
$$;
