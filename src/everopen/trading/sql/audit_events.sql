-- name: orders_are_announced
-- Each order was announced exactly once (until events are forgotten), and nothing was announced that is no order.
SELECT format('order %s: %s announcements', coalesce(o.id, b.subject), coalesce(b.n, 0))
  FROM orders o
  FULL JOIN (SELECT e.subject, count(*) AS n
               FROM (SELECT subject FROM outbox WHERE topic = 'order.placed'
                     UNION ALL SELECT subject FROM events WHERE topic = 'order.placed') e GROUP BY e.subject) b ON b.subject = o.id
 WHERE o.id IS NULL OR b.n > 1
    OR (b.n IS NULL AND coalesce((SELECT i.created_at FROM payment_intents i WHERE i.id = o.id), now())
                        > (SELECT purged_before FROM event_relay));

-- name: events_are_numbered
-- The events that are kept have their numbers without a gap, and nobody is further on than the newest.
SELECT format('%s events after %s up to %s', e.n, r.purged_seq, r.last_seq)
  FROM event_relay r CROSS JOIN (SELECT count(*) AS n, min(seq) AS first, max(seq) AS last FROM events) e
 WHERE e.n <> r.last_seq - r.purged_seq
    OR (e.n > 0 AND (e.first, e.last) IS DISTINCT FROM (r.purged_seq + 1, r.last_seq))
UNION ALL
SELECT format('subscriber %s: position %s of %s', s.id, s.position, r.last_seq)
  FROM subscribers s CROSS JOIN event_relay r WHERE s.position > r.last_seq
UNION ALL
SELECT format('subscriber %s holds event %s, which is not there', d.subscriber_id, d.seq)
  FROM deliveries d LEFT JOIN events e ON e.seq = d.seq WHERE e.seq IS NULL;
