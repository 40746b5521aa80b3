"""Embedded mode: an in-memory cluster whose pods are local processes."""
