-- Promotions, coupons, tax and shipping, and what they came to in an order.
SELECT 1;
