-- The yardstick of the benchmark: the same order, with the same rows, one per transaction, as a careful shop would write
-- it: one stored function, one round trip, a conditional update of the stock. Not part of the schema; the benchmark
-- creates it in a scratch shop and runs it with pgbench. The stock row is taken last, so it is held for as short as can be.

CREATE OR REPLACE FUNCTION bench_place_one(p_sku text, p_quantity integer) RETURNS uuid
LANGUAGE plpgsql
AS $$
DECLARE
    order_id uuid := uuidv7();
    key text := 'bench-' || order_id;
    product products;
    amount bigint;
BEGIN
    SELECT * INTO STRICT product FROM products WHERE sku = p_sku;
    amount := product.unit_price * p_quantity;
    INSERT INTO idempotency (key, fingerprint, kind, result_id)
    VALUES (key, '\x00000000000000000000000000000000', 'order', order_id);
    INSERT INTO orders (id, currency, total, email, placed_at) VALUES (order_id, 'GBP', amount, 'bench@example.com', now());
    INSERT INTO order_lines (order_id, line_no, sku_id, quantity, unit_price, tracked, title)
    VALUES (order_id, 1, product.id, p_quantity, product.unit_price, true, product.title);
    INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at)
    VALUES (order_id, order_id, 'charge', amount, 'GBP', 'sandbox', 'tok_approve', now() + interval '15 seconds');
    INSERT INTO ledger_entries (order_id, event, account, amount, currency)
    VALUES (order_id, 'placed', 'receivable', amount, 'GBP'), (order_id, 'placed', 'sales', -amount, 'GBP');
    INSERT INTO outbox (topic, subject) VALUES ('order.placed', order_id);
    UPDATE stock SET reserved = reserved + p_quantity WHERE sku_id = product.id AND on_hand - reserved >= p_quantity;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'sold out: %', p_sku USING ERRCODE = 'P0001';
    END IF;
    RETURN order_id;
END
$$;
