"""The loop that looks at jobs: queue, watchers of children, controller."""

from coterie_operator.loop.controller import Clock, Controller
from coterie_operator.loop.queue import Backoff, Key, WorkQueue

__all__ = ["Backoff", "Clock", "Controller", "Key", "WorkQueue"]
