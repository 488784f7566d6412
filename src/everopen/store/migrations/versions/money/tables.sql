-- Authorisations and captures, what went wrong with them, and the provider's own list compared with ours.

-- The first payment of an order (a charge, or an authorisation that is captured later) has the order's id; captures, voids
-- and refunds have ids of their own.
ALTER TABLE payment_intents
    DROP CONSTRAINT payment_intents_kind_check,
    ADD CONSTRAINT payment_intents_kind_check CHECK (kind IN ('charge', 'authorise', 'capture', 'void', 'refund')),
    DROP CONSTRAINT payment_intents_status_check,
    ADD CONSTRAINT payment_intents_status_check
        CHECK (status IN ('pending', 'unknown', 'authorised', 'captured', 'voided', 'refunded', 'declined')),
    ADD COLUMN final boolean,
    ADD COLUMN retry_of uuid;
COMMENT ON COLUMN payment_intents.final IS 'of a capture: the last one, what it leaves of the authorisation is voided; NULL = no';
COMMENT ON COLUMN payment_intents.retry_of IS 'the declined payment that staff try again, or have made by hand, with this one';
CREATE INDEX payment_intents_of_order ON payment_intents (order_id) WHERE kind <> 'charge';
CREATE UNIQUE INDEX payment_intents_retry_key ON payment_intents (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX payment_intents_failed ON payment_intents (id)
    WHERE status = 'declined' AND kind IN ('capture', 'void', 'refund');

-- The last guard, behind the functions: whoever adds a capture or a refund, never more is captured than was authorised, and
-- never more goes back than was captured. Charges pass by without a call.
CREATE FUNCTION payment_within_bounds() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bound bigint;
    used bigint;
BEGIN
    PERFORM FROM orders WHERE id = NEW.order_id FOR NO KEY UPDATE;  -- two at once: one after the other
    SELECT coalesce(sum(i.amount) FILTER (WHERE CASE NEW.kind
                        WHEN 'capture' THEN i.kind = 'authorise' AND i.status = 'authorised'
                        ELSE i.status = 'captured' END), 0),
           coalesce(sum(i.amount) FILTER (WHERE i.kind = NEW.kind AND i.status <> 'declined'), 0)
      INTO bound, used
      FROM (SELECT x.kind, x.status, x.amount FROM payment_intents x WHERE x.order_id = NEW.order_id AND x.kind <> 'charge'
            UNION ALL SELECT x.kind, x.status, x.amount FROM payment_intents x WHERE x.id = NEW.order_id AND x.kind = 'charge') i;
    IF NEW.amount > bound - used THEN
        RAISE EXCEPTION 'a % of % for order % is more than the % that are left', NEW.kind, NEW.amount, NEW.order_id, bound - used
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_within_bounds';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER payment_within_bounds BEFORE INSERT ON payment_intents
    FOR EACH ROW WHEN (NEW.kind IN ('capture', 'refund')) EXECUTE FUNCTION payment_within_bounds();

ALTER TABLE ledger_entries
    DROP CONSTRAINT ledger_entries_event_check,
    ADD CONSTRAINT ledger_entries_event_check CHECK (event IN
        ('placed', 'captured', 'released', 'waived', 'refund', 'refund_paid', 'refund_returned', 'credit')),
    ADD COLUMN intent_id uuid;
COMMENT ON COLUMN ledger_entries.intent_id IS 'the capture that the event belongs to, where an order has several; NULL = the order''s charge';
-- For statements and the daily comparison; costs next to nothing to keep.
CREATE INDEX ledger_entries_waived ON ledger_entries (order_id) WHERE event = 'waived';
CREATE INDEX ledger_entries_time ON ledger_entries USING brin (posted_at);

CREATE TABLE reconciliations (
    id uuid PRIMARY KEY,
    provider text NOT NULL,
    day date NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    movements bigint NOT NULL,
    differences_n bigint NOT NULL,
    sums jsonb NOT NULL,
    differences jsonb NOT NULL
);
CREATE INDEX reconciliations_day ON reconciliations (day, provider);
COMMENT ON TABLE reconciliations IS 'our ledger against a provider''s list of one day (UTC), append-only; the newest of a day counts';
