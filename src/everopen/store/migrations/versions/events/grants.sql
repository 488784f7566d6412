-- What the application may do with these tables. What was announced is never changed; only its age removes it.
GRANT INSERT, DELETE ON events TO everopen_app;
GRANT UPDATE (last_seq, purged_seq, purged_before) ON event_relay TO everopen_app;
GRANT INSERT, DELETE ON subscribers TO everopen_app;
GRANT UPDATE (status, reason, position, failures, failing_since, next_at, lease) ON subscribers TO everopen_app;
GRANT INSERT, DELETE ON deliveries TO everopen_app;
GRANT UPDATE (status, attempts, next_at, problem, changed_at) ON deliveries TO everopen_app;
GRANT INSERT, DELETE ON jobs TO everopen_app;
GRANT UPDATE (status, attempt, spent, next_at, worker, said, finished_at) ON jobs TO everopen_app;

-- The auditor need neither read what events tell (one holds the token for a forgotten password) nor be able to sign in the
-- shop's name.
REVOKE SELECT ON outbox, events FROM everopen_audit;
GRANT SELECT (id, topic, subject, created_at) ON outbox TO everopen_audit;
GRANT SELECT (seq, topic, subject, stream, created_at) ON events TO everopen_audit;
REVOKE SELECT ON subscribers FROM everopen_audit;
GRANT SELECT (id, url, topics, description, status, reason, position, failures, failing_since, next_at, lease, created_at)
    ON subscribers TO everopen_audit;
