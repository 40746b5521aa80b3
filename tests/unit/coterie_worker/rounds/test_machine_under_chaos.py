"""The round machine under arbitrary orders, drop-outs, restarts between any two commands, late and repeated events.

The world here is a shell as `coterie_worker.rounds` describes it, with a fake epoch, and a disk that keeps what was made
durable. Between any two commands the process may die; then memory is lost and the machine begins anew from that disk.
"""

from __future__ import annotations

from hypothesis import Phase as Phases
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from coterie_api.progress import DropReason
from coterie_worker.rounds import Criterion, Phase, Resume, Rules, Selection, advance, begin
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on

ROSTER = 4
clients = st.integers(0, ROSTER - 1)
reasons = st.sampled_from(DropReason)
rules_of_jobs = st.builds(
    Rules,
    rounds=st.integers(1, 4),
    roster=st.just(ROSTER),
    quorum=st.integers(1, ROSTER),
    seed=st.integers(0, 9),
    cohort_size=st.one_of(st.none(), st.just(ROSTER)),
    slots_per_epoch=st.integers(1, 3),
    attempts=st.integers(1, 3),
    evaluation_seconds=st.sampled_from([0, 5]),
    criterion=st.one_of(st.none(), st.builds(Criterion, patience=st.one_of(st.none(), st.integers(1, 2)))),
)


class World(RuleBasedStateMachine):
    """A shell, its clients and its disk."""

    told = Bundle("told")

    @initialize(rules=rules_of_jobs)
    def start(self, rules):
        self.rules = rules
        self.slots, self.epochs = [], []  # the slot log, on disk
        self.asked = (0, frozenset())  # there too: of which round clients were asked to open which sum
        self.excluded = frozenset()  # there too, from the slot on that comes after the proof
        self.durable = do.Checkpoint(0, 1, 1, Selection())
        self.model_on_disk = ()  # rounds whose sums are in it
        self.records = {}  # history, on disk: round -> times recorded since the checkpoint
        self.connected = set()
        self.begin()

    def begin(self):
        """A process starts with what is on disk."""
        self.question = None  # StartEpoch, OpenSlot or CloseStage without its answer
        self.banned = self.excluded
        self.open_slot = None
        self.epoch = None
        self.holders = frozenset()
        self.stages_left = 0
        self.timer = None
        self.finished = None
        self.failures_in_a_row = 0
        self.model = self.model_on_disk
        self.records = {index: 1 for index in self.records if index < self.durable.rounds_done}
        resume = Resume(
            self.durable.rounds_done,
            max([self.durable.next_slot, *(slot + 1 for slot in self.slots)]),
            max([self.durable.next_epoch, *(epoch + 1 for epoch in self.epochs)]),
            self.durable.selection,
            self.asked[1] - self.excluded if self.asked[0] == self.durable.rounds_done else frozenset(),
            self.excluded,
        )
        self.state, commands = begin(self.rules, resume)
        self.pending = list(commands)

    def tell(self, event):
        self.perform_all()
        was_done = self.state.is_done
        before = self.state
        self.state, commands = advance(self.state, event)
        self.pending = list(commands)
        if was_done:
            assert (before, []) == (self.state, self.pending)
        return event

    # The shell performs commands one at a time, when the next event comes; so a crash may come before any of them.

    def perform_all(self):
        while self.pending:
            self.perform()

    def perform(self):
        command = self.pending.pop(0)
        getattr(self, f"do_{type(command).__name__.lower()}")(command)
        if isinstance(command, do.StartEpoch | do.OpenSlot | do.CloseStage | do.Finish):
            assert not self.pending, "nothing may come after a question"

    def do_await(self, command):
        assert command.seconds >= 0
        self.timer = command.step

    def do_startepoch(self, command):
        assert all(command.epoch > epoch for epoch in self.epochs)
        assert all(command.first_slot > slot for slot in self.slots)
        assert command.members <= self.connected
        assert len(command.members) >= self.rules.quorum
        assert self.open_slot is None
        assert not command.members & self.banned
        self.epochs.append(command.epoch)
        self.epoch, self.question, self.stages_left = command, command, 2
        self.holders = command.members

    def do_drop(self, command):
        assert command.client in self.holders
        self.holders -= {command.client}

    def do_skip(self, command):
        assert self.open_slot is not None
        assert command.client in self.open_slot.cohort

    def do_openslot(self, command):
        assert self.open_slot is None, "two slots are open"
        assert all(command.slot > slot for slot in self.slots)
        assert 0 <= command.slot - self.epoch.first_slot < self.rules.slots_per_epoch
        assert command.cohort <= self.holders
        assert len(command.cohort) >= self.rules.quorum
        assert command.round_index == len(self.model) < self.rules.rounds
        must = self.asked[1] - self.banned
        if self.asked[0] == command.round_index and must and must <= self.holders:
            assert command.cohort == must, "clients open no other sum"
        self.excluded = self.banned
        self.slots.append(command.slot)
        self.open_slot, self.question, self.stages_left = command, command, 2

    def do_closestage(self, command):
        assert self.question is None
        self.question = command

    def do_applysum(self, command):
        assert command.round_index == len(self.model), "a round is applied once, and in order"
        assert command.slot not in dict(self.model).values()
        self.model += ((command.round_index, command.slot),)

    def do_record(self, command):
        assert command.round_index not in self.records
        assert len(command.survivors) >= self.rules.quorum
        assert command.survivors <= command.cohort
        last = {absence.client for absence in command.absences if absence.slot == command.slot}
        assert last == command.cohort - command.survivors
        assert 1 <= command.attempts <= self.rules.attempts + len(self.banned)
        self.records[command.round_index] = 1

    def do_checkpoint(self, command):
        assert command.rounds_done == len(self.model)
        assert set(self.records) == set(range(command.rounds_done))
        assert command.next_slot > max(self.slots)
        self.durable, self.model_on_disk = command, self.model

    def do_publish(self, command):
        assert command.version == self.durable.rounds_done, "only what can't be lost is shown"

    def do_finish(self, command):
        assert self.finished is None
        self.finished = command
        if command.version is None:
            assert command.came < command.needed
        else:
            assert 1 <= command.version <= self.durable.rounds_done
            assert self.durable.rounds_done == self.rules.rounds or command.outcome is do.Outcome.STOPPED_EARLY

    @rule(performed=st.integers(0, 5), really=st.integers(0, 3))
    def crash(self, performed, really):
        for _ in range(min(performed, len(self.pending))):
            self.perform()
        if really:
            return  # one crash in four times is plenty
        self.connected = set()  # clients see the end of their streams and come again
        self.begin()

    # Clients.

    @rule(target=told, client=clients, last_slot=st.integers(0, 40))
    def join(self, client, last_slot=0):
        self.perform_all()
        if client in self.banned:
            return self.tell(on.DeadlinePassed(0))
        self.connected.add(client)
        return self.tell(on.ClientJoined(client, last_slot))

    @rule(target=told, client=clients, reason=reasons)
    def leave(self, client, reason):
        self.perform_all()
        self.connected.discard(client)
        return self.tell(on.ClientLeft(client, reason))

    @rule(target=told, client=clients, reason=reasons)
    def withdraw(self, client, reason):
        self.perform_all()
        self.connected.discard(client)
        return self.tell(on.ClientWithdrew(client, reason))

    @rule(target=told, client=clients, reason=reasons, back=st.integers(0, 1))
    def fail(self, client, reason, back):
        return self.tell(on.ClientFailed(client, max(self.state.slot - back, 0), reason))

    @precondition(lambda self: self.state.waiting)
    @rule(target=told, data=st.data())
    def hear(self, data):
        self.perform_all()
        missing = data.draw(st.frozensets(st.sampled_from(sorted(self.state.waiting))))
        return self.tell(on.Heard(self.state.step, missing))

    @rule(target=told)
    def deadline_passes(self):
        self.perform_all()
        return self.tell(on.DeadlinePassed(self.timer or 0))

    @precondition(lambda self: self.state.rounds_done)
    @rule(target=told, version=st.integers(1, 4), value=st.floats(0, 1))
    def evaluate(self, version, value):
        return self.tell(on.Evaluated(min(version, self.state.rounds_done), value))

    # The answers of the fake epoch.

    @rule(target=told, data=st.data())
    def answer(self, data):
        self.perform_all()
        if self.question is None:
            return self.tell(on.DeadlinePassed(0))
        step, self.question = self.question.step, None
        if self.state.is_done:
            return self.tell(on.StageOpened(step, frozenset()))
        if data.draw(st.integers(0, 5)) == 0:
            was_asked = data.draw(st.booleans())
            cohort = sorted(self.open_slot.cohort) if was_asked and self.open_slot is not None else []
            return self.give_up(step, was_asked=was_asked, cheaters=data.draw(st.frozensets(st.sampled_from(cohort))) if cohort else ())
        if self.stages_left == 0 and self.open_slot is None and data.draw(st.booleans()):
            members = data.draw(st.frozensets(st.sampled_from(range(ROSTER))))
            return self.tell(on.EpochReady(step, members & self.holders))
        return self.answer_well(step)

    def give_up(self, step, *, was_asked=False, cheaters=()):
        asked = self.open_slot.cohort if self.open_slot is not None and was_asked else frozenset()
        if asked:
            self.asked = (self.state.rounds_done, asked)
        self.open_slot = None
        self.banned |= frozenset(cheaters)
        self.connected -= frozenset(cheaters)
        return self.tell(on.TooFew(step, self.rules.quorum - 1, self.rules.quorum, asked, frozenset(cheaters)))

    @rule(told_before=told)
    def repeat(self, told_before):
        """What was told of something that is over may be told again."""
        self.perform_all()
        step = getattr(told_before, "step", self.state.step)
        is_evaluation = isinstance(told_before, on.Evaluated) and told_before.version <= self.state.selection.last_version
        if step >= self.state.step and not is_evaluation:
            return  # a fact of the present, told once more, is another fact: the rules above tell those
        before = self.state
        self.tell(told_before)
        assert (before, []) == (self.state, self.pending)

    # What holds at any time.

    @invariant()
    def slots_and_epochs_strictly_increase(self):
        assert self.slots == sorted(set(self.slots))
        assert self.epochs == sorted(set(self.epochs))

    @invariant()
    def the_machine_waits_for_an_answer_or_a_timer(self):
        if self.pending or self.state.is_done:
            return
        if self.question is not None:
            assert self.question.step == self.state.step
            assert self.state.is_answer_due
        else:
            assert self.timer == self.state.step, f"nothing will ever wake the machine in {self.state.phase}"

    @invariant()
    def finish_is_the_last_word(self):
        if self.finished is not None:
            assert self.state.is_done
            assert not self.pending

    @rule(steps=st.integers(1, 40))
    def all_goes_well(self, steps):
        """So that chaos comes in late rounds too."""
        for _ in range(steps):
            if self.state.is_done and not self.pending:
                return
            if self.pending:
                self.perform()
            elif self.question is not None:
                step, self.question = self.question.step, None
                self.answer_well(step)
            elif len(self.connected | self.banned) < ROSTER:
                self.join(min(set(range(ROSTER)) - self.connected - self.banned))
            elif self.state.waiting:
                self.tell(on.Heard(self.state.step, frozenset()))
            else:
                self.tell(on.DeadlinePassed(self.timer))

    def answer_well(self, step):
        if self.stages_left:
            self.stages_left -= 1
            waiting = self.state.cohort if self.state.phase is Phase.TRAINING else self.holders
            return self.tell(on.StageOpened(step, waiting & self.holders))
        if self.open_slot is None:
            return self.tell(on.EpochReady(step, self.holders))
        survivors, self.open_slot = self.open_slot.cohort - self.state.failed_clients, None
        return self.tell(on.SumOpened(step, survivors))

    def teardown(self):
        event(f"{self.durable.rounds_done} rounds, {len(self.slots)} slots, {self.finished and self.finished.outcome}")
        self.come_to_an_end()

    def come_to_an_end(self):
        """Left alone, with deadlines passing and every stage failing, the machine comes to an end."""
        for _ in range(200):
            if self.pending:
                self.perform()
            elif self.state.is_done:
                return
            elif self.question is not None:
                step, self.question = self.question.step, None
                self.give_up(step)
            else:
                self.tell(on.DeadlinePassed(self.timer))
        raise AssertionError(f"still {self.state.phase} after 200 steps")


TestRoundMachineUnderChaos = World.TestCase
TestRoundMachineUnderChaos.settings = settings(
    max_examples=120,
    stateful_step_count=60,
    deadline=None,
    phases=set(Phases) - {Phases.explain},  # minutes of a failing run
)
