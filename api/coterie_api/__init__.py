"""Contracts: everything of Coterie that another process, version or language can see."""
