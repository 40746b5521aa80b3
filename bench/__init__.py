"""Measurements against limits and peers, each as a ratio within one run; `make bench` prints the table."""
