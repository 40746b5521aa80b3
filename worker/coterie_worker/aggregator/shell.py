"""The aggregator: one task, one queue of events, the round machine in the middle."""

from __future__ import annotations

import asyncio
import base64
import logging
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from coterie_api.names import EXIT_OK, EXIT_RETRY, EXIT_TERMINAL, PATH_CHECKPOINT, PATH_EVALUATION, PATH_OUTPUT, PATH_TLS, PORT_ROUNDS
from coterie_api.podconfig import AggregatorRole
from coterie_api.progress import Drop, DropReason, Progress, Termination, sentence, unevaluated
from coterie_api.v1alpha1.conditions import SENTENCES as REASONS
from coterie_api.v1alpha1.conditions import Reason
from coterie_worker.aggregator.checkpoint import Checkpoint
from coterie_worker.aggregator.evaluations import Evaluation, follow, once_more
from coterie_worker.aggregator.history import History
from coterie_worker.aggregator.model import Initial, Model
from coterie_worker.aggregator.perform import Files, Performer
from coterie_worker.aggregator.publish import Models, Output, OutputFailed
from coterie_worker.aggregator.slots import SlotLog
from coterie_worker.aggregator.status import StatusServer
from coterie_worker.aggregator.watch import Watch
from coterie_worker.offload import offload
from coterie_worker.rounds import Resume, State, advance, begin, rules_of
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on
from coterie_worker.secagg import PeerProtocolError, TooLate, parameters_of
from coterie_worker.secagg.errors import WrongSession
from coterie_worker.transport import (
    Admission,
    Control,
    Dropped,
    Event,
    Finished,
    Joined,
    Left,
    Limits,
    Note,
    Received,
    RoundsServer,
    ServerCertificate,
    Vector,
    VectorKind,
    control_bytes,
)

if TYPE_CHECKING:
    from coterie_api.podconfig import JobConfig
    from coterie_worker.config import Pod

log = logging.getLogger(__name__)
FINAL: Final = frozenset({DropReason.TASK_IMPORT_FAILED, DropReason.NO_DATA, DropReason.POLICY_REFUSED})
PUBLISHING: Final = "Publishing"
DONE: Final = "Done"


@dataclass(frozen=True, slots=True)
class Ending:
    """How the process ends."""

    code: int
    word: Termination


class Stop(Exception):
    """SIGTERM: the checkpoint is durable, so nothing is left to do."""


async def run(pod: Pod) -> Ending:
    """Run the job's rounds to their end, or until SIGTERM. Raises what makes no sense to go on with."""
    job, spec_hash = pod.job()
    aggregator = Aggregator(pod, job, spec_hash)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, aggregator.stop)
    try:
        return await aggregator.run()
    finally:
        await aggregator.close()


class Aggregator:
    """The shell of one job's rounds."""

    def __init__(self, pod: Pod, job: JobConfig, spec_hash: bytes) -> None:
        self._pod, self._job = pod, job
        self._role = pod.role(AggregatorRole)
        folder = pod.at(PATH_CHECKPOINT)
        initial = Initial.load(folder)
        checkpoint = Checkpoint(folder)
        snapshot = checkpoint.load(job.job_uid, initial.layout.hash.hex())
        history = History(folder, snapshot.rounds_done if snapshot else 0)
        self._files = Files(checkpoint, SlotLog(folder), history, Models(folder), is_evaluated=self._role.has_evaluator)
        self._resume = Resume(
            rounds_done=snapshot.rounds_done if snapshot else 0,
            next_slot=max(snapshot.next_slot if snapshot else 1, self._files.slots.next_slot),
            next_epoch=max(snapshot.next_epoch if snapshot else 1, self._files.slots.next_epoch),
            opened=self._files.slots.asked_in(snapshot.rounds_done if snapshot else 0),
            withdrawn=self._files.slots.excluded,
            **({"selection": snapshot.selection} if snapshot else {}),
        )
        self._model = Model(job, initial, snapshot)
        self._server = self._make_server(spec_hash)
        self._perform = Performer(job, parameters_of(job, spec_hash), self._model, self._files, self._server)
        self._tally = self._perform.tally
        for client in self._files.slots.excluded:
            self._perform.ban(client)
        if self._role.has_evaluator:
            self._tally.metrics.expects_evaluations()
        self._watch = Watch(self._tally.metrics)
        self._state = self._shown = State(rules_of(job, has_evaluator=self._role.has_evaluator))
        self._phase = ""
        self._status = StatusServer(pod, self.progress, self._tally.metrics)
        self._evaluations: asyncio.Task[None] | None = None

    def progress(self) -> Progress:
        """The numbers now."""
        return self._tally.progress(self._shown, self._phase)

    def stop(self) -> None:
        """Ask the loop to end."""
        self._server.note(Stop())

    async def run(self) -> Ending:
        """Serve until the machine is done."""
        await self._server.start(self._pod.host, PORT_ROUNDS)
        await self._status.start()
        if self._role.has_evaluator:
            self._evaluations = asyncio.create_task(follow(self._pod.at(PATH_EVALUATION), self._server.note))
        try:
            return await self._drive()
        except Stop:
            self._files.checkpoint.settle()
            return Ending(EXIT_RETRY, Termination(Reason.AGGREGATOR_RESTARTING.value, "stopped by SIGTERM", progress=self.progress()))

    async def close(self) -> None:
        """Let go of ports and files."""
        if self._evaluations is not None:
            self._evaluations.cancel()
            with suppress(asyncio.CancelledError):
                await self._evaluations
        await self._status.stop()
        await self._server.stop()
        self._files.checkpoint.close()

    async def _drive(self) -> Ending:
        self._state, commands = begin(self._state.rules, self._resume)
        last, select_by = self._resume.selection.last_version, self._job.evaluation.select_by
        again = once_more(self._files.history, self._files.models, last, select_by)  # looks for models when the first one is due
        while True:
            event: on.Event | None = None
            for command in commands:
                if isinstance(command, do.Finish):
                    self._shown = self._state
                    return await self._finish(command)
                event = await self._perform(command) or event
            self._shown = self._state  # now that it is done: a round that is shown is in the checkpoint
            event = event or next(again, None)
            while event is None:
                event = await self._translate(await self._server.event())
            before = self._state
            self._state, commands = advance(before, event)
            self._watch.moved(before, event, self._state, commands)

    async def _translate(self, event: Event) -> on.Event | None:
        match event:
            case Joined(index, last_slot):
                return self._joined(index, last_slot)
            case Left(index, reason):
                return on.ClientLeft(index, reason)
            case Received(index, Control(payload)):
                return self._hear(index, payload)
            case Received(index, Vector() as upload):
                return await self._accept(index, upload)
            case Received(index, Dropped() as dropped):
                return self._failed(index, dropped)
            case Note(value):
                return self._noted(value)
        raise TypeError(f"an event of type {type(event).__name__}")

    def _joined(self, index: int, last_slot: int) -> on.Event | None:
        if index in self._perform.banned:
            self._server.expel(index, DropReason.PROTOCOL_VIOLATION)
            return None
        if not self._state.believes(last_slot):
            return self._disbelieve(index, last_slot)
        self._perform.joined(index)
        self._tally.gone.pop(index, None)
        log.info("client %s joined", self._job.roster[index].client)
        return on.ClientJoined(index, last_slot)

    def _disbelieve(self, index: int, last_slot: int) -> on.Event:
        """Leave a client out whose slot makes no sense. Its stream stays: it would only dial again and say the same."""
        client, next_slot = self._job.roster[index].client, self._state.next_slot
        log.warning("client %s says that it has used slot %d, the next one is %d: it is left out", client, last_slot, next_slot)
        self._tally.gone[index] = self._tally.drop(index, DropReason.PROTOCOL_VIOLATION)
        return on.ClientWithdrew(index, DropReason.PROTOCOL_VIOLATION)

    def _hear(self, index: int, payload: bytes) -> on.Event | None:
        epoch = self._perform.epoch
        if epoch is None or index not in epoch.live:
            return None  # it left the epoch, or knows an older one
        try:
            epoch.receive(index, payload)
        except (TooLate, WrongSession) as error:
            log.info("client %d is behind: %s", index, error)
            return None
        except PeerProtocolError as error:
            return self._expel(index, error)
        return on.Heard(self._state.step, epoch.waiting_for)

    async def _accept(self, index: int, upload: Vector) -> on.Event | None:
        epoch = self._perform.epoch
        try:
            if epoch is None or index not in epoch.live:
                return None
            words = upload.words.view(np.uint32)
            await offload(words.size, epoch.accept, index, words, upload.signature, slot=upload.tag)
        except TooLate as error:
            log.info("%s", error)
            return None
        except PeerProtocolError as error:
            return self._expel(index, error)
        finally:
            upload.release()
        log.debug("slot %d: the update of %s is in the sum", upload.tag, self._job.roster[index].client)
        return on.Heard(self._state.step, epoch.waiting_for)

    def _expel(self, index: int, error: PeerProtocolError) -> on.Event:
        log.warning("client %s broke the protocol: %s", self._job.roster[index].client, error)
        self._server.expel(index, DropReason.PROTOCOL_VIOLATION)
        return on.ClientLeft(index, DropReason.PROTOCOL_VIOLATION)

    def _failed(self, index: int, dropped: Dropped) -> on.Event:
        drop = self._tally.failed(index, dropped)
        log.warning("client %s: %s %s %s incident %s", drop.client, drop.reason, drop.error_class, drop.where, drop.incident)
        if dropped.is_final or dropped.reason in FINAL:
            return on.ClientWithdrew(index, dropped.reason)
        return on.ClientFailed(index, dropped.slot, dropped.reason)

    def _noted(self, value: object) -> on.Event | None:
        match value:
            case Stop():
                raise value
            case Evaluation():
                return self._evaluated(value)
            case on.DeadlinePassed():
                return value
        raise TypeError(f"an event of type {type(value).__name__}")

    def _evaluated(self, evaluation: Evaluation) -> on.Event | None:
        version = evaluation.version
        if version > self._state.rounds_done:
            return None  # of a model that a crash took back
        if self._tally.evaluation is None or version >= self._tally.evaluation.version:
            self._tally.evaluation = evaluation
            if evaluation.failure is None:
                self._tally.metrics.evaluated_model(version)
        if evaluation.failure is None:
            self._files.history.evaluated(version, evaluation.accuracy, evaluation.loss, evaluation.others)
        if version not in self._files.models.present():
            return None
        return on.Evaluated(version, evaluation.value(self._job.evaluation.select_by))

    async def _finish(self, finish: do.Finish) -> Ending:
        await asyncio.to_thread(self._files.checkpoint.settle)
        if finish.outcome is do.Outcome.NO_QUORUM:
            message = f"{finish.came} clients came within {self._job.assembly_deadline_seconds} s, {finish.needed} are needed"
            return Ending(EXIT_RETRY, Termination(Reason.QUORUM_NOT_MET.value, message, progress=self.progress()))
        if finish.version is None:
            await self._server.finish(Finished(finish.outcome.value))
            word = Termination(Reason.TOO_FEW_SURVIVORS.value, self._too_few(finish), progress=self.progress())
            return Ending(EXIT_TERMINAL, word)
        self._phase = PUBLISHING
        try:
            await asyncio.to_thread(self._release, finish.version)
        except OutputFailed as error:
            # Worth another try: a volume can be given more room meanwhile, and all the rounds are in the checkpoint.
            log.exception("the result can't be written")
            word = Termination(Reason.OUTPUT_FAILED.value, f"{REASONS[Reason.OUTPUT_FAILED]}: {error}", progress=self.progress())
            return Ending(EXIT_RETRY, word)
        self._phase = DONE
        await self._server.finish(Finished(finish.outcome.value))
        reason = Reason.STOPPED_EARLY if finish.outcome is do.Outcome.STOPPED_EARLY else Reason.ROUNDS_COMPLETED
        progress = self.progress()
        told = (f"{self._state.rounds_done} rounds done", f"model {finish.version} released", unevaluated(progress))
        return Ending(EXIT_OK, Termination(reason.value, "; ".join(filter(None, told)), progress=progress))

    def _release(self, version: int) -> None:
        if not self._role.has_output:
            return
        self._perform.epoch = None  # its sum is as long as the model
        model = self._model
        parameters = model.parameters if version == model.version else self._files.models.read(version, model.parameters.size)
        output = Output(self._pod.at(PATH_OUTPUT), self._role.output_path)
        output.write_history(self._files.history.lines())
        output.write_model(model.initial.layout, parameters, model.initial.file())

    def _too_few(self, finish: do.Finish) -> str:
        """How many came and how many were needed, and who was missing for which reason."""
        message = f"round {self._state.rounds_done + 1}: {finish.came} clients came, {finish.needed} are needed"
        names = ", ".join(self._job.roster[index].client for index in sorted(finish.opened))
        again = (f"its sum was asked for before, and clients open it again only of the same: {names}",) if names else ()
        return "; ".join((message, *again, *map(describe, self.progress().drops)))

    def _make_server(self, spec_hash: bytes) -> RoundsServer:
        job = self._job
        keys = tuple(base64.b64decode(entry.public_key, validate=True) for entry in job.roster)
        limits = Limits(
            {VectorKind.MASKED: 4 * self._model.encoding.size}, control_bytes(len(keys), job.aggregation.slots_per_epoch), len(keys)
        )
        certificate = ServerCertificate.load(self._pod.at(PATH_TLS))
        return RoundsServer(certificate, Admission(job.job_uid, spec_hash, keys), self._model.initial.greeting, limits)


def describe(drop: Drop) -> str:
    """One client's absence in words that hold no data."""
    return f"{drop.client}: {sentence(drop)}"
