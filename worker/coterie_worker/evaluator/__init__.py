"""The process that tests the model on data that is not private."""
