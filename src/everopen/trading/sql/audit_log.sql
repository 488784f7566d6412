-- name: audit_log_is_chained
-- Each row of the audit log carries the digest of itself and of the row before it, without a gap, up to the recorded end.
SELECT wrong.what
  FROM (SELECT l.sequence, format('row %s of the audit log (%s by %s, %s) is not what was written there', l.sequence, l.action, l.actor, l.happened_at) AS what
          FROM (SELECT a.*, lag(a.sequence, 1, 0::bigint) OVER w AS sequence_before, lag(a.digest, 1, '\x'::bytea) OVER w AS digest_before
                  FROM audit_log a WINDOW w AS (ORDER BY a.sequence)) l
         WHERE l.sequence <> l.sequence_before + 1 OR l.previous <> l.digest_before
            OR l.digest <> sha256(l.previous || convert_to(jsonb_build_array(
                   l.sequence, extract(epoch FROM l.happened_at), l.actor, l.action, l.key, l.subject, l.detail)::text, 'UTF8'))
        UNION ALL
        SELECT h.sequence, format('the audit log ends with row %s, its recorded end is row %s', coalesce(e.sequence, 0), h.sequence)
          FROM audit_head h LEFT JOIN LATERAL (SELECT a.sequence, a.digest FROM audit_log a ORDER BY a.sequence DESC LIMIT 1) e ON true
         WHERE (h.sequence, h.digest) IS DISTINCT FROM (coalesce(e.sequence, 0), coalesce(e.digest, '\x'))
        UNION ALL
        SELECT 0, 'the recorded end of the audit log is gone' WHERE NOT EXISTS (SELECT FROM audit_head)) wrong
 ORDER BY wrong.sequence;
