-- What the application may do with these tables.
SELECT 1;
