-- Subscribers, deliveries of events, durable jobs.
SELECT 1;
