"""The control plane: decides what should exist, and makes it so."""
