-- name: load_rules
-- The rules that prices follow now, as one document of one snapshot; of the coupons only those that changed after a version.
SELECT json_build_object(
    'version', r.version,
    'terms', json_build_object(
        'prices_include_tax', r.prices_include_tax, 'rounding', r.rounding, 'home_country', r.home_country,
        'shipping_required', r.shipping_required),
    'promotions', (
        SELECT coalesce(json_agg(json_build_object(
                   'id', p.id, 'label', p.label, 'rule', p.rule, 'currency', p.currency, 'min_value', p.min_value,
                   'starts_at', p.starts_at, 'ends_at', p.ends_at, 'priority', p.priority, 'exclusive', p.exclusive,
                   'coupon_only', p.coupon_only)), '[]')
          FROM promotions p
         WHERE p.ended_at IS NULL AND (p.ends_at IS NULL OR p.ends_at > now() - interval '1 hour')),
    'coupons', (
        SELECT coalesce(json_agg(json_build_object(
                   'id', c.id, 'code', c.code, 'promotion_id', c.promotion_id, 'limit_total', c.limit_total,
                   'limit_per_customer', c.limit_per_customer, 'starts_at', c.starts_at, 'ends_at', c.ends_at,
                   'ended', c.ended_at IS NOT NULL)), '[]')
          FROM coupons c WHERE c.version > $1),
    'tax_rates', (
        SELECT coalesce(json_agg(json_build_object(
                   'country', t.country, 'tax_category', t.tax_category, 'rate_bp', t.rate_bp,
                   'starts_at', t.starts_at, 'ends_at', t.ends_at)), '[]')
          FROM tax_rates t
         WHERE t.ended_at IS NULL AND (t.ends_at IS NULL OR t.ends_at > now() - interval '1 hour')),
    'shipping_methods', (
        SELECT coalesce(json_agg(json_build_object(
                   'code', m.code, 'label', m.label, 'currency', m.currency, 'countries', m.countries,
                   'tax_category', m.tax_category, 'basis', m.basis, 'weight_g_max', m.weight_g_max,
                   'steps', (SELECT json_agg(json_build_object('at_least', s.at_least, 'price', s.price) ORDER BY s.at_least)
                               FROM shipping_steps s WHERE s.code = m.code)) ORDER BY m.code), '[]')
          FROM shipping_methods m WHERE m.ended_at IS NULL)
)::text
  FROM pricing_rules r;

-- name: lock_rules
-- Staff change the rules one after the other.
SELECT version FROM pricing_rules FOR NO KEY UPDATE;

-- name: known_pricing_key
-- Whether a key was used before, and what came of it.
SELECT code, result_id, result FROM known_key($1, $2, $3);

-- name: next_version
-- Moves the version on. It is a time (microseconds), so that a version undone by going back to a recovery point never comes again.
UPDATE pricing_rules SET version = greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
RETURNING version;

-- name: note_change
-- Writes down who asked for which change, and keeps the key, in its transaction.
WITH noted AS (
    INSERT INTO audit_log (action, key, subject, detail) VALUES ($3, $1, $4, $5)
)
INSERT INTO idempotency (key, fingerprint, kind, result_id, result) VALUES ($1, $2, $3, $4, $6);

-- name: find_terms
-- What holds for all prices.
SELECT version, prices_include_tax, rounding, home_country, shipping_required FROM pricing_rules;

-- name: set_terms
-- Changes what holds for all prices.
UPDATE pricing_rules SET prices_include_tax = $1, rounding = $2, home_country = $3, shipping_required = $4;

-- name: list_promotions
-- A page of promotions, newest first; those that staff ended only when asked for.
SELECT p.id, p.label, p.rule::text, p.currency, p.min_value, p.starts_at, p.ends_at, p.priority, p.exclusive, p.coupon_only, p.ended_at
  FROM promotions p
 WHERE ($1::uuid IS NULL OR p.id < $1) AND ($2 OR p.ended_at IS NULL)
 ORDER BY p.id DESC
 LIMIT $3;

-- name: find_promotion
-- One promotion.
SELECT p.id, p.label, p.rule::text, p.currency, p.min_value, p.starts_at, p.ends_at, p.priority, p.exclusive, p.coupon_only, p.ended_at
  FROM promotions p WHERE p.id = $1;

-- name: add_promotion
-- Adds a promotion.
INSERT INTO promotions (id, version, label, rule, currency, min_value, starts_at, ends_at, priority, exclusive, coupon_only)
VALUES ($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9, $10, $11);

-- name: set_promotion
-- Replaces a promotion; one that was ended begins again.
UPDATE promotions
   SET version = $2, label = $3, rule = $4::jsonb, currency = $5, min_value = $6, starts_at = $7, ends_at = $8, priority = $9,
       exclusive = $10, coupon_only = $11, ended_at = NULL
 WHERE id = $1
RETURNING id;

-- name: end_promotion
-- Ends a promotion; ending it again changes nothing.
UPDATE promotions SET version = $2, ended_at = coalesce(ended_at, now()) WHERE id = $1 RETURNING id;

-- name: list_coupons
-- A page of coupons in the order of their codes, of one promotion or of all; those that staff ended only when asked for.
SELECT c.code, c.promotion_id, c.limit_total, c.limit_per_customer, c.starts_at, c.ends_at, c.ended_at, c.used
  FROM coupons c
 WHERE ($1::text IS NULL OR c.code > $1) AND ($2 OR c.ended_at IS NULL) AND ($3::uuid IS NULL OR c.promotion_id = $3)
 ORDER BY c.code
 LIMIT $4;

-- name: find_coupon
-- One coupon.
SELECT c.code, c.promotion_id, c.limit_total, c.limit_per_customer, c.starts_at, c.ends_at, c.ended_at, c.used
  FROM coupons c WHERE c.code = $1;

-- name: unknown_promotions
-- Which of these promotions there are not.
SELECT u.id FROM unnest($1::uuid[]) AS u (id) WHERE NOT EXISTS (SELECT FROM promotions p WHERE p.id = u.id) LIMIT 1;

-- name: lock_coupons
-- Locks coupons that are there already, in the order of their ids like every order that uses them, and says how often they are used.
SELECT c.code, c.used FROM coupons c WHERE c.code = ANY ($1::text[]) ORDER BY c.id FOR NO KEY UPDATE;

-- name: most_uses
-- How often the customer who uses a coupon most does so.
SELECT coalesce(max(n), 0)
  FROM (SELECT count(*) AS n FROM coupon_uses u JOIN coupons c ON c.id = u.coupon_id WHERE c.code = $1 GROUP BY u.customer) x;

-- name: put_coupons
-- Adds coupons, or replaces what is said about those that are there; one that was ended begins again.
WITH written AS (
    INSERT INTO coupons AS c (id, version, code, promotion_id, limit_total, limit_per_customer, starts_at, ends_at)
    SELECT u.id, $1, u.code, u.promotion_id, u.limit_total, u.limit_per_customer, u.starts_at, u.ends_at
      FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::integer[], $7::timestamptz[], $8::timestamptz[])
        AS u (id, code, promotion_id, limit_total, limit_per_customer, starts_at, ends_at)
     ORDER BY u.code COLLATE "C"
    ON CONFLICT (code) DO UPDATE
       SET version = excluded.version, promotion_id = excluded.promotion_id, limit_total = excluded.limit_total,
           limit_per_customer = excluded.limit_per_customer, starts_at = excluded.starts_at, ends_at = excluded.ends_at, ended_at = NULL
    RETURNING (xmax = 0) AS is_new
)
SELECT count(*) FILTER (WHERE is_new) AS added, count(*) FILTER (WHERE NOT is_new) AS updated FROM written;

-- name: end_coupon
-- Ends a coupon; ending it again changes nothing.
UPDATE coupons SET version = $2, ended_at = coalesce(ended_at, now()) WHERE code = $1 RETURNING id;

-- name: list_tax_rates
-- All tax rates of a country or of all countries; those that staff ended only when asked for.
SELECT t.id, t.country, t.tax_category, t.rate_bp, t.starts_at, t.ends_at, t.ended_at
  FROM tax_rates t
 WHERE ($1::text IS NULL OR t.country = $1) AND ($2 OR t.ended_at IS NULL)
 ORDER BY t.country, t.tax_category, t.starts_at NULLS FIRST, t.id;

-- name: find_tax_rate
-- One tax rate.
SELECT t.id, t.country, t.tax_category, t.rate_bp, t.starts_at, t.ends_at, t.ended_at FROM tax_rates t WHERE t.id = $1;

-- name: add_tax_rate
-- Adds a tax rate.
INSERT INTO tax_rates (id, version, country, tax_category, rate_bp, starts_at, ends_at) VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: set_tax_rate
-- Replaces a tax rate; one that was ended begins again.
UPDATE tax_rates
   SET version = $2, country = $3, tax_category = $4, rate_bp = $5, starts_at = $6, ends_at = $7, ended_at = NULL
 WHERE id = $1
RETURNING id;

-- name: end_tax_rate
-- Ends a tax rate; ending it again changes nothing.
UPDATE tax_rates SET version = $2, ended_at = coalesce(ended_at, now()) WHERE id = $1 RETURNING id;

-- name: list_shipping_methods
-- The ways to send goods to a country, or all; those that staff ended only when asked for.
SELECT m.code, m.label, m.currency, m.countries, m.tax_category, m.basis, m.weight_g_max, m.ended_at,
       ARRAY(SELECT s.at_least FROM shipping_steps s WHERE s.code = m.code ORDER BY s.at_least) AS bounds,
       ARRAY(SELECT s.price FROM shipping_steps s WHERE s.code = m.code ORDER BY s.at_least) AS prices
  FROM shipping_methods m
 WHERE ($1::text IS NULL OR m.countries = '{}' OR $1 = ANY (m.countries)) AND ($2 OR m.ended_at IS NULL)
   AND ($3::text IS NULL OR m.code = $3)
 ORDER BY m.code;

-- name: put_shipping_method
-- Adds or replaces a shipping method, without its steps; one that was ended begins again.
INSERT INTO shipping_methods (code, version, label, currency, countries, tax_category, basis, weight_g_max)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (code) DO UPDATE
   SET version = excluded.version, label = excluded.label, currency = excluded.currency, countries = excluded.countries,
       tax_category = excluded.tax_category, basis = excluded.basis, weight_g_max = excluded.weight_g_max, ended_at = NULL;

-- name: clear_shipping_steps
-- Takes a method's steps away, for new ones.
DELETE FROM shipping_steps WHERE code = $1;

-- name: add_shipping_steps
-- The steps of a method.
INSERT INTO shipping_steps (code, at_least, price)
SELECT $1, u.at_least, u.price FROM unnest($2::bigint[], $3::bigint[]) AS u (at_least, price);

-- name: end_shipping_method
-- Ends a shipping method; ending it again changes nothing.
UPDATE shipping_methods SET version = $2, ended_at = coalesce(ended_at, now()) WHERE code = $1 RETURNING code;
