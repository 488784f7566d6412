-- What the application may do with these tables. What an order came to is as final as its lines.
GRANT INSERT ON limited_sales TO everopen_app;
GRANT INSERT, UPDATE (amount, valid_from, valid_to), DELETE ON prices TO everopen_app;
GRANT UPDATE (published, scheduled, buyer_limit) ON products TO everopen_app;
GRANT UPDATE (backorder) ON stock TO everopen_app;
