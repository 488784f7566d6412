-- Customers, staff, their sessions and keys, and an audit log whose rows are chained by hashes.
SELECT 1;
