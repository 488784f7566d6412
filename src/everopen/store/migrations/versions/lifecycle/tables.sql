-- An order's life after it is placed: shipments, returns, invoices, timeline.
SELECT 1;
