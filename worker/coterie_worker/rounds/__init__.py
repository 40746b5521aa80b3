"""Pure: the round machine, cohort sampling, weighted sums, server optimizers."""
