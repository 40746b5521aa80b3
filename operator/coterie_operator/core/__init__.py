"""Pure decisions: from what was observed to what should be done."""
