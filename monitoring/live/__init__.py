"""A real federation that a real Prometheus scrapes, on this machine's loopback alone: for tests and for pictures."""
