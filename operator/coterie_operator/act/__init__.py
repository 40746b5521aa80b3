"""Performing a plan: idempotent writes through the port, the status once and last."""

from coterie_operator.act.actor import Actor, NotLeader, Outcome
from coterie_operator.act.authority import ensure_authority

__all__ = ["Actor", "NotLeader", "Outcome", "ensure_authority"]
