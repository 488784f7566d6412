-- An order's life after it is placed: shipments, returns, invoices, timeline.

-- The states of `trading/states.py`.
ALTER TABLE orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (status IN (
    'placed', 'authorised', 'paid', 'declined', 'cancelled', 'partly_shipped', 'shipped', 'completed', 'returned'));
