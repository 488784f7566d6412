-- What the application may do with these tables. Versions are only read: triggers write them.
GRANT INSERT, UPDATE (parent_id, name, position) ON categories TO everopen_app;
GRANT INSERT, UPDATE (title, description, varies_by) ON product_groups TO everopen_app;
GRANT UPDATE (published, category_id, tax_category, weight_g, group_id, attributes, images) ON products TO everopen_app;
GRANT INSERT, UPDATE (name, priority) ON locations TO everopen_app;
GRANT INSERT, UPDATE (on_hand) ON stock_at TO everopen_app;
GRANT INSERT, UPDATE (low_at, low_since), DELETE ON stock_alerts TO everopen_app;
