-- What the application may do with these tables. Names and secrets of people are nothing that an audit has to read.

REVOKE SELECT ON customers, customer_addresses, password_resets, login_attempts, login_places,
    staff, staff_recovery_codes, staff_sessions, api_keys FROM everopen_audit;

GRANT INSERT ON customers, customer_addresses, password_resets, login_attempts, login_places,
    staff, staff_recovery_codes, staff_sessions, api_keys, audit_log TO everopen_app;
GRANT UPDATE (email, email_key, name, password_hash, password_changed_at, erased_at) ON customers TO everopen_app;
GRANT UPDATE (recipient, line1, line2, city, region, postcode, country, phone), DELETE ON customer_addresses TO everopen_app;
GRANT UPDATE (used_at), DELETE ON password_resets TO everopen_app;
GRANT UPDATE (failures, last_at, blocked_until), DELETE ON login_attempts TO everopen_app;
GRANT UPDATE (seen_at), DELETE ON login_places TO everopen_app;
GRANT UPDATE (name, roles, active, password_hash, must_change_password, totp_secret, totp_offered, totp_counter, last_login_at)
    ON staff TO everopen_app;
GRANT UPDATE (used_at), DELETE ON staff_recovery_codes TO everopen_app;
GRANT UPDATE (token_hash, seen_at), DELETE ON staff_sessions TO everopen_app;
GRANT UPDATE (token_hash, revoked_at, last_used_at) ON api_keys TO everopen_app;
