-- What the application may do with these columns: a cart's customer is final.
GRANT UPDATE (unit_price) ON cart_lines TO everopen_app;
