"""The rules by which a job is judged: one small pure function each, one file per policy."""
