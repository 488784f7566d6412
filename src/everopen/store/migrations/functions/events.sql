-- relay_events: moves what is in the outbox to `events` and numbers it. Returns how many; -1 when another worker is at it.
--
-- Why not a cursor over outbox.id: ids come in blocks of 100 per connection and rows show when their transaction commits,
-- so a smaller id may appear after a larger one was read. Why not the transaction's number behind the oldest running one:
-- it is given out at the first write and two transactions may meet at an order's lock the other way round. Here one relay
-- at a time (it holds the row of event_relay) numbers what it sees. An event that depends on another is written only after
-- that one was committed, so it is never seen without it; and of two seen together the one written later is later.
-- Who reads sees numbers without gaps appear at the end only: the next relay begins when this one has committed.
CREATE FUNCTION relay_events(p_most integer) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    last bigint;
    moved integer;
BEGIN
    IF NOT EXISTS (SELECT FROM outbox) THEN
        RETURN 0;
    END IF;
    SELECT r.last_seq INTO last FROM event_relay r FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN -1;
    END IF;
    WITH taken AS (
        DELETE FROM outbox o USING (SELECT b.id FROM outbox b ORDER BY b.created_at, b.id LIMIT p_most) d
         WHERE o.id = d.id
        RETURNING o.id, o.topic, o.subject, o.payload, o.created_at
    )
    INSERT INTO events (seq, topic, subject, stream, payload, created_at)
    SELECT last + row_number() OVER (ORDER BY t.created_at, t.id), t.topic, t.subject,
           CASE WHEN t.topic LIKE 'order.%' AND t.topic <> 'order.refund' THEN t.subject
                ELSE coalesce((SELECT i.order_id FROM payment_intents i WHERE i.id = t.subject),
                              (SELECT f.order_id FROM refunds f WHERE f.id = t.subject), t.subject) END,
           t.payload, t.created_at
      FROM taken t;
    GET DIAGNOSTICS moved = ROW_COUNT;
    UPDATE event_relay SET last_seq = last + moved;
    RETURN moved;
END
$$;

-- purge_events: forgets events that are older than the setting, a batch at a time; never what an active subscriber has not got.
CREATE FUNCTION purge_events(p_keep interval, p_most integer) RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    first bigint;
    bound bigint;
    upto bigint;
    before timestamptz;
    gone integer;
BEGIN
    SELECT r.purged_seq, r.last_seq INTO first, bound FROM event_relay r FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    bound := least(bound,
        (SELECT min(s.position) FROM subscribers s WHERE s.status = 'active'),
        (SELECT min(d.seq) - 1 FROM deliveries d JOIN subscribers s ON s.id = d.subscriber_id
          WHERE d.status = 'waiting' AND s.status = 'active'));
    SELECT max(e.seq), max(e.created_at) INTO upto, before
      FROM (SELECT x.seq, x.created_at FROM events x WHERE x.seq > first AND x.seq <= bound ORDER BY x.seq LIMIT p_most) e
     WHERE e.created_at < now() - p_keep;
    IF upto IS NULL THEN
        RETURN 0;
    END IF;
    DELETE FROM events e WHERE e.seq > first AND e.seq <= upto;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM deliveries d WHERE d.seq <= upto;
    UPDATE event_relay r SET purged_seq = upto, purged_before = greatest(r.purged_before, before);
    RETURN gone;
END
$$;
