"""The process that runs a job's rounds. No torch."""
