-- Authorisations and captures, the provider's notifications, reconciliation.
SELECT 1;
