"""The operator's page (first version: read only), the same as JSON, and the Prometheus metrics of all processes."""
