"""A story with the round machine: clients that do as they are told, and what the machine asked for."""

from __future__ import annotations

from coterie_worker.rounds import Phase, Rules, begin
from coterie_worker.rounds import advance as machine
from coterie_worker.rounds import events as on

RULES = Rules(rounds=3, roster=3, quorum=2, slots_per_epoch=2)
ALL = frozenset({0, 1, 2})


class Story:
    """A shell with clients that do as they are told; keeps what the machine asked for."""

    def __init__(self, rules=RULES, resume=None):
        self.state, commands = begin(rules, resume)
        self.log = list(commands)

    def tell(self, *events):
        """Tell events one by one; return the commands of all of them."""
        asked = []
        for event in events:
            self.state, commands = machine(self.state, event)
            asked += commands
        self.log += asked
        return asked

    def join(self, *clients):
        return self.tell(*map(on.ClientJoined, clients))

    def opened(self, *waiting):
        return self.tell(on.StageOpened(self.state.step, frozenset(waiting)))

    def heard(self, *missing):
        return self.tell(on.Heard(self.state.step, frozenset(missing)))

    def deadline(self):
        return self.tell(on.DeadlinePassed(self.state.step))

    def too_few(self, came=1, needed=2):
        return self.tell(on.TooFew(self.state.step, came, needed))

    def sum_opened(self, *survivors):
        return self.tell(on.SumOpened(self.state.step, frozenset(survivors)))

    def keyed(self, *members):
        """From StartEpoch to the first OpenSlot of the epoch."""
        self.opened(*members)
        self.heard()
        return self.tell(on.EpochReady(self.state.step, frozenset(members)))

    def training(self, *members):
        """All members join and share keys, and their first slot is open."""
        self.join(*members)
        if self.state.phase is Phase.GATHERING:
            self.deadline()
        self.keyed(*members)
        self.opened(*members)
        return self

    def finished_round(self, *survivors):
        """From an open slot to whatever comes after its sum."""
        self.heard()
        self.opened(*survivors)
        self.heard()
        return self.sum_opened(*survivors)


def only(commands, kind):
    found = [command for command in commands if isinstance(command, kind)]
    assert len(found) == 1, commands
    return found[0]


def kinds(commands):
    return [type(command).__name__ for command in commands]
