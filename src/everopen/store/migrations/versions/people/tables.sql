-- Customers, staff, their sessions and keys, and an audit log whose rows are chained by digests.
-- What opens a door (a password, a token, a recovery code) is kept as a digest only. The secret of a second factor can't
-- be: it has to be known to check a code. So the audit role, which reads everything else, reads none of this.

CREATE TABLE customers (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    email_key text COLLATE "C" NOT NULL,
    name text NOT NULL DEFAULT '',
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    password_changed_at timestamptz NOT NULL DEFAULT now(),
    erased_at timestamptz,
    CONSTRAINT customers_email_key UNIQUE (email_key)
);
COMMENT ON COLUMN customers.email_key IS 'the address as two spellings of it are compared: NFKC, small letters';

CREATE TABLE customer_addresses (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers,
    recipient text NOT NULL,
    line1 text NOT NULL,
    line2 text NOT NULL DEFAULT '',
    city text NOT NULL,
    region text NOT NULL DEFAULT '',
    postcode text NOT NULL DEFAULT '',
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    phone text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX customer_addresses_customer ON customer_addresses (customer_id, id);

CREATE TABLE password_resets (
    token_hash bytea PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX password_resets_customer ON password_resets (customer_id);
CREATE INDEX password_resets_expiry ON password_resets (expires_at);

-- No foreign key: customers are never deleted (erasing one empties the row).
ALTER TABLE sessions ADD COLUMN customer_id uuid;
CREATE INDEX sessions_customer ON sessions (customer_id) WHERE customer_id IS NOT NULL;
COMMENT ON COLUMN sessions.customer_id IS 'who logged in; NULL: a guest';

-- Attempts at a door, by the digest of who is named and from where. A row is written before the password is looked at, so
-- a hundred guesses at once over all workers are counted like a hundred in a row.
CREATE TABLE login_attempts (
    bucket bytea PRIMARY KEY,
    failures integer NOT NULL,
    last_at timestamptz NOT NULL,
    blocked_until timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX login_attempts_age ON login_attempts (last_at);

CREATE TABLE login_places (
    place bytea PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX login_places_age ON login_places (seen_at);
COMMENT ON TABLE login_places IS
    'digests of account and address that logged in together: guesses from elsewhere do not keep the owner out there';

CREATE TABLE staff (
    id uuid PRIMARY KEY,
    login text NOT NULL,
    login_key text COLLATE "C" NOT NULL,
    name text NOT NULL DEFAULT '',
    roles text[] NOT NULL,
    active boolean NOT NULL DEFAULT true,
    password_hash text NOT NULL,
    must_change_password boolean NOT NULL DEFAULT true,
    totp_secret text,
    totp_offered text,
    totp_counter bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_login_at timestamptz,
    CONSTRAINT staff_login_key UNIQUE (login_key)
);
COMMENT ON COLUMN staff.totp_counter IS 'time step of the last code that was taken; only later ones count (RFC 6238, 5.2)';
COMMENT ON COLUMN staff.totp_offered IS 'shown to its owner, not yet confirmed by a code';

CREATE TABLE staff_recovery_codes (
    code_hash bytea PRIMARY KEY,
    staff_id uuid NOT NULL REFERENCES staff,
    used_at timestamptz
);
CREATE INDEX staff_recovery_codes_staff ON staff_recovery_codes (staff_id);

CREATE TABLE staff_sessions (
    id uuid PRIMARY KEY,
    token_hash bytea NOT NULL CONSTRAINT staff_sessions_token_key UNIQUE,
    staff_id uuid NOT NULL REFERENCES staff,
    address text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX staff_sessions_staff ON staff_sessions (staff_id);
CREATE INDEX staff_sessions_expiry ON staff_sessions (expires_at);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    token_hash bytea NOT NULL CONSTRAINT api_keys_token_key UNIQUE,
    scopes text[] NOT NULL,
    maker uuid REFERENCES staff,
    made_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
COMMENT ON COLUMN api_keys.maker IS
    'the account whose rights bound the key''s, and with which it ends; NULL: made with the operator key';

-- The audit log, chained: each row holds the digest of the one before it and of itself, so that a row changed, removed or
-- slipped in later breaks the chain there, whoever did it. One lock makes the sequence gapless; it is held to the end of
-- the transaction, so nothing on the order path may write here (a test looks). The rows that are there already are chained
-- by the same trigger, in the order in which they happened.
ALTER TABLE audit_log RENAME TO audit_log_unchained;

CREATE TABLE audit_log (
    sequence bigint PRIMARY KEY,
    happened_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    key text NOT NULL,
    subject uuid,
    detail text NOT NULL DEFAULT '',
    previous bytea NOT NULL,
    digest bytea NOT NULL
);
COMMENT ON TABLE audit_log IS 'what staff did, append-only, chained by digests';
COMMENT ON COLUMN audit_log.actor IS 'who did it: the setting everopen.actor of the connection; system: no person';

-- Where the log ends: without it, rows cut off at the end would not be missed.
CREATE TABLE audit_head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    sequence bigint NOT NULL,
    digest bytea NOT NULL
);
INSERT INTO audit_head (sequence, digest) VALUES (0, '\x');

-- Runs as its owner: the application may add rows, and neither lock nor write the head by itself.
CREATE FUNCTION chain_audit_log() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    last record;
BEGIN
    PERFORM FROM audit_head FOR NO KEY UPDATE;
    -- A new statement, so a new snapshot: it sees what the former holder of the lock committed.
    SELECT l.sequence, l.digest INTO last FROM audit_log l ORDER BY l.sequence DESC LIMIT 1;
    NEW.sequence := coalesce(last.sequence, 0) + 1;
    NEW.previous := coalesce(last.digest, '\x');
    NEW.actor := coalesce(NEW.actor, nullif(current_setting('everopen.actor', true), ''), 'system');
    NEW.digest := sha256(NEW.previous || convert_to(jsonb_build_array(
        NEW.sequence, extract(epoch FROM NEW.happened_at), NEW.actor, NEW.action, NEW.key, NEW.subject, NEW.detail)::text, 'UTF8'));
    RETURN NEW;
END
$$;

CREATE FUNCTION note_audit_head() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE audit_head SET (sequence, digest) = (SELECT l.sequence, l.digest FROM audit_log l ORDER BY l.sequence DESC LIMIT 1)
     WHERE EXISTS (SELECT FROM audit_log);
    RETURN NULL;
END
$$;

CREATE TRIGGER chain BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION chain_audit_log();
CREATE TRIGGER note_head AFTER INSERT ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION note_audit_head();

INSERT INTO audit_log (happened_at, actor, action, key, subject, detail)
SELECT happened_at, 'unknown', action, key, subject, detail FROM audit_log_unchained ORDER BY happened_at, ctid;
DROP TABLE audit_log_unchained;
