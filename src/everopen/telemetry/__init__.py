"""One vocabulary of events and samples: the event history on disk, and the Prometheus text that the console serves."""
