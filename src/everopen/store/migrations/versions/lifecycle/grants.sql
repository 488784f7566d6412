-- What the application may do with these tables. History, lines and documents are only added; of a shipment it may say that
-- it arrived, of a return what became of it.
GRANT INSERT ON order_history, shipments, shipment_lines, returns, return_lines, documents, document_series TO everopen_app;
GRANT UPDATE (delivered_at) ON shipments TO everopen_app;
GRANT UPDATE (status, received_at, closed_at, note, refund_id) ON returns TO everopen_app;
GRANT UPDATE (good, damaged, rejected) ON return_lines TO everopen_app;
GRANT UPDATE (last) ON document_series TO everopen_app;
GRANT UPDATE (done_to) ON invoicing TO everopen_app;
