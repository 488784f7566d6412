-- What the application may do with the rules: add and change them, never remove one. Uses of a coupon are given back.

GRANT UPDATE (version, prices_include_tax, rounding, home_country, shipping_required) ON pricing_rules TO everopen_app;
GRANT INSERT ON promotions, coupons, coupon_uses, tax_rates, shipping_methods, shipping_steps TO everopen_app;
GRANT UPDATE (version, label, rule, currency, min_value, starts_at, ends_at, priority, exclusive, coupon_only, ended_at)
    ON promotions TO everopen_app;
GRANT UPDATE (version, promotion_id, limit_total, limit_per_customer, starts_at, ends_at, ended_at, used) ON coupons TO everopen_app;
GRANT UPDATE (version, country, tax_category, rate_bp, starts_at, ends_at, ended_at) ON tax_rates TO everopen_app;
GRANT UPDATE (version, label, currency, countries, tax_category, basis, weight_g_max, ended_at) ON shipping_methods TO everopen_app;
GRANT DELETE ON coupon_uses, shipping_steps TO everopen_app;
