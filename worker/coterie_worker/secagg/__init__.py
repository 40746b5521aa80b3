"""Secure aggregation without I/O: bytes in, bytes out."""
