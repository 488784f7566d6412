-- Least privilege. The application adds to the books and never changes or removes what is in them; amounts, lines
-- and facts of an order are final for it too: it may update a status and little else.

GRANT USAGE ON SCHEMA public TO everopen_app, everopen_audit;

GRANT INSERT ON ledger_entries, audit_log, stock_movements, order_lines, refund_lines TO everopen_app;
GRANT INSERT ON orders, payment_intents, outbox, idempotency, refunds, products, stock, carts, cart_lines, sessions TO everopen_app;
GRANT UPDATE (status, settled_at) ON orders TO everopen_app;
GRANT UPDATE (status, attempts, next_attempt_at, provider_reference, settled_at) ON payment_intents TO everopen_app;
GRANT UPDATE (on_hand, reserved) ON stock TO everopen_app;
GRANT UPDATE (title, unit_price, description, updated_at) ON products TO everopen_app;
GRANT UPDATE (delivered_at), DELETE ON outbox TO everopen_app;
GRANT UPDATE (version, updated_at), DELETE ON carts TO everopen_app;
GRANT UPDATE (quantity), DELETE ON cart_lines TO everopen_app;
GRANT UPDATE (seen_at, expires_at), DELETE ON sessions TO everopen_app;
GRANT DELETE ON idempotency TO everopen_app;
