"""Who gets which certificate, and its issuing."""
