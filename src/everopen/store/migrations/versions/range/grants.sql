-- What the application may do with these tables.
GRANT INSERT, UPDATE (parent_id, name, position) ON categories TO everopen_app;
GRANT UPDATE (category_id, tax_category, weight_g) ON products TO everopen_app;
