"""The only room that knows torch: tasks, loops, and parameters as one flat vector."""
