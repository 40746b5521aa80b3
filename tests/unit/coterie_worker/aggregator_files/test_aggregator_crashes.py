"""A whole job, killed at every call to the disk: machine, slot log, checkpoint, history and models together.

The shell here is as short as `coterie_worker.rounds` promises, with clients that always answer, and an evaluator that
thinks less of every model after the second.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from tests.unit.coterie_worker.aggregator_files.crash_disk import PARTS, Crash, CrashDisk, Loss, crashes

from coterie_api.history import RoundLine
from coterie_api.v1alpha1.training import Strategy, StrategyName
from coterie_worker.aggregator.checkpoint import Checkpoint, Snapshot
from coterie_worker.aggregator.history import History
from coterie_worker.aggregator.publish import Models
from coterie_worker.aggregator.slots import SlotLog
from coterie_worker.rounds import Criterion, Resume, Rules, advance, begin, retained, server_optimizer
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on

ALL = frozenset({0, 1, 2})
RULES = Rules(rounds=3, roster=3, quorum=3, slots_per_epoch=2, evaluation_seconds=1, criterion=Criterion())
STRATEGY = Strategy(name=StrategyName.FED_AVG_M, momentum=0.5)
MEAN = np.array([1.0, -2.0], dtype=np.float32)


class Aggregator:
    """One process: from what is on disk to the end of the job, or to a crash."""

    def __init__(self, folder, disk, asked):
        self.asked = asked  # (slot, round) as clients saw them, over all processes
        self.checkpoint = Checkpoint(folder, disk)
        try:
            self.resume(folder, disk)
        except BaseException:
            self.checkpoint.close()
            raise

    def resume(self, folder, disk):
        self.optimizer = server_optimizer(STRATEGY)
        self.log = SlotLog(folder, disk)
        self.models = Models(folder, disk)
        self.snapshot = self.checkpoint.load("job", "layout") or Snapshot(
            "job", "layout", 0, 1, 1, np.zeros(2, np.float32), self.optimizer.init(2)
        )
        self.history = History(folder, self.snapshot.rounds_done, disk)
        self.parameters, self.moments = self.snapshot.parameters, self.snapshot.moments
        again = self.history.evaluated_since(self.snapshot.selection.last_version)
        self.queue = [on.Evaluated(line.round, line.accuracy) for line in again]
        self.queue += [on.ClientJoined(client) for client in sorted(ALL)]
        self.stages = 0
        self.result = None

    def run(self):
        with closing(self.checkpoint):
            start = Resume(
                self.snapshot.rounds_done,
                max(self.snapshot.next_slot, self.log.next_slot),
                max(self.snapshot.next_epoch, self.log.next_epoch),
                self.snapshot.selection,
            )
            state, commands = begin(RULES, start)
            while self.result is None:
                answers = [answer for command in commands if (answer := self.perform(command, state))]
                if self.result is None:
                    waiting = [on.Heard(state.step, frozenset())] if state.waiting else []
                    state, commands = advance(state, (answers + waiting + self.queue)[0])
                    self.queue = self.queue[1:] if not answers + waiting else self.queue
            return self.result

    def perform(self, command, state):  # noqa: C901  (a line for each command)
        match command:
            case do.StartEpoch(step, epoch):
                self.log.open_epoch(epoch)
                self.checkpoint.settle()
                self.stages, self.slot = 1, None
                return on.StageOpened(step, ALL)
            case do.OpenSlot(step, slot, round_index):
                self.log.open_slot(slot, round_index)
                self.checkpoint.settle()
                self.asked.append((slot, round_index))
                self.stages, self.slot = 1, slot
                return on.StageOpened(step, ALL)
            case do.CloseStage(step) if self.stages:
                self.stages -= 1
                if self.slot:
                    self.log.freeze(self.slot, bytes(32))
                return on.StageOpened(step, ALL)
            case do.CloseStage(step):
                return on.SumOpened(step, ALL) if self.slot else on.EpochReady(step, ALL)
            case do.ApplySum():
                self.optimizer.apply(self.moments, self.parameters, MEAN, 2)
            case do.Record():
                self.history.append(RoundLine(command.round_index + 1, command.slot, command.attempts, 3, 3))
            case do.Checkpoint():
                numbers = (command.rounds_done, command.next_slot, command.next_epoch)
                self.history.sync()
                self.checkpoint.save(Snapshot("job", "layout", *numbers, self.parameters, self.moments, command.selection))
            case do.Publish(version, selection):
                self.checkpoint.settle()
                self.models.publish(version, self.parameters)
                self.models.prune(retained(self.models.present(), version, selection, 3))
                self.queue.append(on.Evaluated(version, 0.9 if version == 2 else 0.5))
                self.history.evaluated(version, 0.9 if version == 2 else 0.5, None)
            case do.Finish():
                self.result = command
        return None


def play(folder, disk, witness):
    Aggregator(folder, disk, witness).run()


def expected(rounds):
    parameters, velocity = np.zeros(2), np.zeros(2)
    for _ in range(rounds):
        velocity = 0.5 * velocity + MEAN
        parameters = parameters + velocity
    return parameters.tolist()


def check_end(folder, asked, result):
    """What holds at the end of a job, however often it was killed."""
    with closing(Checkpoint(folder)) as checkpoint:
        snapshot = checkpoint.load("job", "layout")
    lines = History(folder, RULES.rounds).lines()
    slots = [slot for slot, _ in asked]

    assert result == do.Finish(do.Outcome.COMPLETED, 2)
    assert slots == sorted(set(slots)), "a slot was opened twice"
    assert {index for _, index in asked} == {0, 1, 2}
    assert snapshot.rounds_done == 3
    assert snapshot.parameters.tolist() == expected(3), "each round is applied exactly once"
    assert [line.round for line in lines] == [1, 2, 3]
    assert {line.slot for line in lines} <= set(slots)
    assert Models(folder).read(2, 2).tolist() == expected(2), "the best model is there to be released"


def test_a_job_that_is_never_killed_uses_a_slot_a_round(tmp_path):
    asked = []

    check_end(tmp_path, asked, Aggregator(tmp_path, CrashDisk(tmp_path), asked).run())
    assert asked == [(1, 0), (2, 1), (3, 2)]


def test_the_real_disk_does_the_same(tmp_path):
    from coterie_worker.durable import DISK

    asked = []

    check_end(tmp_path, asked, Aggregator(tmp_path, DISK, asked).run())


@pytest.mark.parametrize("loss", list(Loss), ids=lambda loss: loss.name)
def test_a_job_killed_anywhere_ends_as_if_it_had_not_been(tmp_path, loss):
    for folder, asked in crashes(tmp_path, play, [loss]):
        check_end(folder, asked, Aggregator(folder, CrashDisk(folder), asked).run())


def test_no_crash_takes_a_model_back_that_clients_were_asked_to_train(tmp_path):
    for folder, asked in crashes(tmp_path, play):
        with closing(Checkpoint(folder)) as checkpoint:
            snapshot = checkpoint.load("job", "layout")

        assert max([index for _, index in asked], default=0) <= (snapshot.rounds_done if snapshot else 0)


def test_a_job_killed_again_and_again_ends_all_the_same(tmp_path):
    asked, lives, result = [], 0, None
    while result is None:
        # Each life makes a little more than the last, so that every call is some life's last one.
        disk = CrashDisk(tmp_path, crash_at=lives, part=PARTS[lives % 2])
        try:
            result = Aggregator(tmp_path, disk, asked).run()
        except Crash:
            disk.settle(list(Loss)[lives % len(Loss)])
        lives += 1

    check_end(tmp_path, asked, result)
    assert lives > 5
