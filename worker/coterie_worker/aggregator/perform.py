"""Performs what the round machine asks for, one command to its end before the next. It decides nothing."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from coterie_api.progress import DropReason
from coterie_worker.aggregator.checkpoint import Checkpoint, Snapshot
from coterie_worker.aggregator.history import History
from coterie_worker.aggregator.publish import Models, capacity
from coterie_worker.aggregator.slots import SlotLog
from coterie_worker.aggregator.tally import Tally
from coterie_worker.offload import offload
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on
from coterie_worker.rounds import retained
from coterie_worker.secagg import DealerCheated, PlainServer, ServerEpoch, Stage, TooFewSurvivors
from coterie_worker.transport import Control

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from coterie_api.podconfig import JobConfig
    from coterie_worker.aggregator.model import Model
    from coterie_worker.secagg import Outbox, SessionParameters
    from coterie_worker.transport import RoundsServer

log = logging.getLogger(__name__)
PLAIN: Final = "None"


@dataclass(frozen=True, slots=True)
class Files:
    """The aggregator's files in its checkpoint volume."""

    checkpoint: Checkpoint
    slots: SlotLog
    history: History
    models: Models
    is_evaluated: bool  # whether anybody reads the models


class Performer:
    """Holds what the machine's commands act upon: the epoch, the model, the files, the streams."""

    def __init__(self, job: JobConfig, parameters: SessionParameters, model: Model, files: Files, server: RoundsServer) -> None:
        self._job = job
        self._parameters = parameters
        self._files = files
        self._server = server
        self._timer: asyncio.TimerHandle | None = None
        self._holds: dict[int, int] = {}  # client -> version that was sent in its session
        self._norm = 0.0
        self._to_log: tuple[int, frozenset[int]] | None = None  # a slot and who cheated in it, once everyone else has the proofs
        self.banned: set[int] = set()  # take no part any more, whatever they say
        self.model = model
        self.epoch: ServerEpoch | PlainServer | None = None
        self.tally = Tally(job, server.traffic)

    def joined(self, client: int) -> None:
        """A new session: it holds no parameters."""
        self._holds.pop(client, None)

    def ban(self, client: int) -> None:
        """Send a client away for good."""
        self.banned.add(client)
        self.tally.gone[client] = self.tally.drop(client, DropReason.PROTOCOL_VIOLATION)
        self._server.expel(client, DropReason.PROTOCOL_VIOLATION)

    async def __call__(self, command: do.Command) -> on.Answer | None:
        """Perform one command; Finish is the shell's."""
        return await self._actions[type(command)](self, command)

    async def _await(self, command: do.Await) -> None:
        if not self._files.checkpoint.is_settled:
            await asyncio.to_thread(self._files.checkpoint.settle)
        if self._timer is not None:
            self._timer.cancel()
        event = on.DeadlinePassed(command.step)
        self._timer = asyncio.get_running_loop().call_later(command.seconds, self._server.note, event)

    async def _start_epoch(self, command: do.StartEpoch) -> on.Answer:
        await asyncio.to_thread(self._log_epoch, command.epoch)
        kind = PlainServer if self._job.aggregation.protocol == PLAIN else ServerEpoch
        self.epoch = kind(self._parameters, command.epoch, command.first_slot, command.members)
        self._send(self.epoch.start())
        log.info("epoch %d: %d clients", command.epoch, len(command.members))
        return on.StageOpened(command.step, self.epoch.waiting_for)

    async def _open_slot(self, command: do.OpenSlot) -> on.Answer:
        epoch, model = self._require_epoch(), self.model
        await asyncio.to_thread(self._log_slot, command)
        deadline = int(1000 * (time.time() + self._job.round_deadline_seconds))
        try:
            outbox = epoch.start_slot(command.slot, model.hash, command.cohort, deadline, model.encoding.size)
        except TooFewSurvivors as error:
            return on.TooFew(command.step, error.came, error.needed)
        self._server.gate.open(command.slot)
        self._send(outbox)
        for client in sorted(command.cohort):
            if self._holds.get(client) != model.version:
                self._server.send(client, model.vector)
                self._holds[client] = model.version
        return on.StageOpened(command.step, epoch.waiting_for)

    async def _close_stage(self, command: do.CloseStage) -> on.Answer:
        epoch, stage = self._require_epoch(), self._require_epoch().stage
        self._server.close_uploads()
        try:
            outbox = await asyncio.to_thread(epoch.close) if stage is Stage.UNMASK else epoch.close()
        except TooFewSurvivors as error:
            log.warning("%s", error)
            return on.TooFew(command.step, error.came, error.needed, self._asked(stage))
        except DealerCheated as error:
            log.warning("%s", error)
            return self._exclude(command, error)
        if stage is Stage.INPUT and epoch.frozen is not None:
            self._files.slots.freeze(epoch.frozen.header.slot, hashlib.sha256(epoch.frozen.to_bytes()).digest())
        if stage is Stage.CONSISTENCY and epoch.frozen is not None:
            slot, survivors = epoch.frozen.header.slot, frozenset(epoch.frozen.survivors)
            self._files.slots.ask(slot, self.model.version, survivors)
        self._send(outbox)
        return self._answer(command, epoch)

    def _exclude(self, command: do.CloseStage, error: DealerCheated) -> on.Answer:
        """Show the proofs to all others before they hear of another epoch; they then open the sum of the rest."""
        epoch = self._require_epoch()
        for client in error.dealers:
            self.ban(client)
        rest = epoch.live - error.dealers
        for proof in error.proofs:
            self._send(dict.fromkeys(sorted(rest), proof))
        assert epoch.frozen is not None, "shares are asked for once the survivors are fixed"
        self._to_log = epoch.frozen.header.slot, error.dealers
        return on.TooFew(command.step, len(rest), self._parameters.min_survivors, self._asked(Stage.UNMASK), error.dealers)

    def _asked(self, stage: Stage) -> frozenset[int]:
        """The survivors whose sum clients were asked to open, if it came to that."""
        frozen = self._require_epoch().frozen
        return frozenset(frozen.survivors) if stage is Stage.UNMASK and frozen is not None else frozenset()

    def _answer(self, command: do.CloseStage, epoch: ServerEpoch | PlainServer) -> on.Answer:
        if epoch.stage is Stage.READY:
            return on.EpochReady(command.step, epoch.live)
        if epoch.stage is Stage.DONE and epoch.frozen is not None:
            return on.SumOpened(command.step, frozenset(epoch.frozen.survivors))
        return on.StageOpened(command.step, epoch.waiting_for)

    async def _drop(self, command: do.Drop) -> None:
        if self.epoch is not None:
            self.epoch.drop(command.client)

    async def _skip(self, command: do.Skip) -> None:
        self._require_epoch().skip(command.client)

    async def _apply_sum(self, _: do.ApplySum) -> None:
        moved = await offload(self.model.encoding.size, self.model.apply, self._require_epoch())
        self._norm, self.tally.clamped = moved.update_norm, moved.clamped

    async def _record(self, command: do.Record) -> None:
        line = self.tally.round_line(command, self._norm)
        self._files.history.append(line)
        log.info("round %d: %d of %d clients, %.3f s", line.round, line.survivors, line.cohort, line.seconds)

    async def _checkpoint(self, command: do.Checkpoint) -> None:
        model = self.model
        snapshot = Snapshot(
            job_uid=self._job.job_uid,
            layout_hash=model.initial.layout.hash.hex(),
            rounds_done=command.rounds_done,
            next_slot=command.next_slot,
            next_epoch=command.next_epoch,
            parameters=model.parameters,
            moments=model.moments,
            selection=command.selection,
        )
        await asyncio.to_thread(self._files.checkpoint.save, snapshot, self._files.history.sync)

    async def _publish(self, command: do.Publish) -> None:
        if self._files.is_evaluated:
            await asyncio.to_thread(self._show, command)

    def _log_epoch(self, epoch: int) -> None:
        self._files.slots.open_epoch(epoch)
        self._files.checkpoint.settle()

    def _log_slot(self, command: do.OpenSlot) -> None:
        """The lines first: on most file systems their sync brings the checkpoint's name along, and the second one has little to do."""
        if self._to_log is not None:  # all who hold the new epoch's keys have answered since they got the proofs
            self._files.slots.exclude(*self._to_log)
            self._to_log = None
        self._files.slots.open_slot(command.slot, command.round_index)
        self._files.checkpoint.settle()

    def _show(self, command: do.Publish) -> None:
        self._files.checkpoint.settle()
        models, room = self._files.models, capacity(self.model.parameters.size, has_evaluator=True)
        models.publish(command.version, self.model.parameters)
        models.prune(retained(models.present(), command.version, command.selection, room))

    def _require_epoch(self) -> ServerEpoch | PlainServer:
        if self.epoch is None:
            raise RuntimeError("the round machine asked for a slot before the first epoch")
        return self.epoch

    def _send(self, outbox: Outbox) -> None:
        for client, payload in outbox.items():
            self._server.send(client, Control(payload))

    _actions: Final[dict[type, Callable[[Performer, Any], Coroutine[Any, Any, on.Answer | None]]]] = {
        do.Await: _await,
        do.StartEpoch: _start_epoch,
        do.OpenSlot: _open_slot,
        do.CloseStage: _close_stage,
        do.Drop: _drop,
        do.Skip: _skip,
        do.ApplySum: _apply_sum,
        do.Record: _record,
        do.Checkpoint: _checkpoint,
        do.Publish: _publish,
    }
