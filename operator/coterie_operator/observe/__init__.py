"""Gathering the world: what one pass over a job needs to know, read through the port and parsed once."""

from coterie_operator.observe.events import Explainer
from coterie_operator.observe.gather import Gathering, observe, read_dataset, read_job
from coterie_operator.observe.references import referenced

__all__ = ["Explainer", "Gathering", "observe", "read_dataset", "read_job", "referenced"]
