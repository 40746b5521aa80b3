"""The process that tests the model on data that is not private."""

from coterie_worker.evaluator.loop import run

__all__ = ["run"]
