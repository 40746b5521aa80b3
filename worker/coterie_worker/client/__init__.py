"""The process beside one tenant's private data."""
