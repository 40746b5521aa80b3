"""The only room that knows torch: tasks, loops, and parameters as one flat vector."""

from coterie_worker.training.check import check_data
from coterie_worker.training.evaluate import Score, Scorer
from coterie_worker.training.failure import TaskFailure
from coterie_worker.training.initialize import InitialModel, initialize, load_initial
from coterie_worker.training.opening import load_task
from coterie_worker.training.round import Round
from coterie_worker.training.task import Task
from coterie_worker.training.trainer import Trainer, Update

__all__ = [
    "InitialModel",
    "Round",
    "Score",
    "Scorer",
    "Task",
    "TaskFailure",
    "Trainer",
    "Update",
    "check_data",
    "initialize",
    "load_initial",
    "load_task",
]
