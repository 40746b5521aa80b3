"""The client: one process beside one tenant's private data. Nothing leaves it but masked updates and catalog reasons."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from coterie_api.names import EXIT_OK, EXIT_TERMINAL, PATH_DATA, PATH_HOSTS, PATH_STATE, PATH_TLS, PORT_ROUNDS
from coterie_api.podconfig import ClientRole
from coterie_api.progress import SENTENCES, Drop, DropReason, Termination
from coterie_worker.client.state import SlotRecord, SlotUsed
from coterie_worker.client.work import Missed, TaskWork, Withdrawn, Work
from coterie_worker.entropy import system_entropy
from coterie_worker.layout import Layout
from coterie_worker.offload import cores, offload
from coterie_worker.secagg import (
    ClientEpoch,
    ClientMemory,
    InvalidParameters,
    PeerProtocolError,
    PlainClient,
    PolicyRefused,
    SlotHeader,
    SumTooClose,
    check_policy,
    parameters_of,
    starts_epoch,
)
from coterie_worker.transport import (
    Connection,
    Control,
    Credential,
    Dropped,
    Finished,
    Incoming,
    Limits,
    Peer,
    Reset,
    Vector,
    VectorKind,
    control_bytes,
    initial_hash,
    model_hash,
)

if TYPE_CHECKING:
    from coterie_api.podconfig import JobConfig
    from coterie_worker.config import Pod

log = logging.getLogger(__name__)
PLAIN: Final = "None"
REPORT_SECONDS: Final = 10.0  # for the last word to reach the aggregator
LAYOUT_BYTES: Final = 64 * 2**20
SHARD_WORDS: Final = 1 << 18  # shorter vectors are masked in one thread
MODEL_BYTES: Final = 64 * 2**30


@dataclass(frozen=True, slots=True)
class Ending:
    """How the process ends."""

    code: int
    word: Termination


class InitialModelChanged(Exception):
    """The aggregator sent another initial model than the hash it named, or than the one this process trains."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """One version of the model, and the hash by which headers name it."""

    version: int
    values: NDArray[np.float32] = field(repr=False)
    hash: bytes


async def run(pod: Pod) -> Ending:
    """Take part until the job has ended. Raises what makes no sense to go on with."""
    job, spec_hash = pod.job()
    role = pod.role(ClientRole)
    state = pod.at(PATH_STATE)
    if not role.has_state:
        state.mkdir(parents=True, exist_ok=True)  # in the pod itself: good for this process, and no longer
    with SlotRecord(state) as record:
        client = Client(pod, job, spec_hash, role, record)
        return await client.run()


class Client:
    """The shell of one client."""

    def __init__(self, pod: Pod, job: JobConfig, spec_hash: bytes, role: ClientRole, record: SlotRecord) -> None:
        self._job, self._role, self._record = job, role, record
        self._work: Work = TaskWork(job, pod.at(PATH_DATA), role.index)
        self._identity = pod.identity()
        self._pinned = pod.pinned_policy()
        self._parameters = parameters_of(job, spec_hash)
        limits = Limits(
            {VectorKind.LAYOUT: LAYOUT_BYTES, VectorKind.INITIAL: MODEL_BYTES, VectorKind.PARAMETERS: MODEL_BYTES},
            control_bytes(len(job.roster), job.aggregation.slots_per_epoch),
            len(job.roster),
        )
        peer = Peer(role.aggregator, PORT_ROUNDS, pod.at(PATH_HOSTS), (pod.at(PATH_TLS) / "ca.crt").read_bytes())
        self._connection = Connection(peer, Credential(job.job_uid, role.index, spec_hash, self._identity), limits)
        self._connection.last_slot = max(0, record.last(job.job_uid))
        self._heavy = ThreadPoolExecutor(1, "training")  # one at a time: the task's generators are the process's own
        self._cores = cores()
        self._maskers = ThreadPoolExecutor(self._cores, "masking")
        self._memory = ClientMemory()  # of all epochs: sums of different ones are compared, too
        self._protocol = asyncio.Lock()  # an epoch is used by one thread at a time
        self._epoch: ClientEpoch | PlainClient | None = None
        self._initial_hash = b""
        self._initial: dict[VectorKind, Vector] = {}
        self._layout: Layout | None = None
        self._model: Parameters | None = None
        self._loaded: asyncio.Future[None] | None = None
        self._round_task: asyncio.Task[None] | None = None
        self._working_on = -1  # slot

    async def run(self) -> Ending:
        """Dial, listen and work until Finished, or until this client must withdraw."""
        dial = asyncio.create_task(self._connection.run())
        try:
            self._new_epoch()  # policy and identity, before anything is said
            preload = asyncio.get_running_loop().run_in_executor(self._heavy, self._work.prepare)
            listen = asyncio.create_task(self._listen(preload))
            await asyncio.wait({dial, listen}, return_when=asyncio.FIRST_COMPLETED)
            if not listen.done() and dial.exception() is not None:
                listen.cancel()
                await dial
            return await listen
        except Withdrawn as withdrawn:
            return await self._withdraw(withdrawn)
        finally:
            dial.cancel()
            self._heavy.shutdown(wait=False, cancel_futures=True)
            self._maskers.shutdown(wait=False, cancel_futures=True)

    async def _withdraw(self, withdrawn: Withdrawn) -> Ending:
        """Tell the aggregator why, if it can be reached, and end for good."""
        drop = withdrawn.drop
        log.error("%s", withdrawn)
        if not self._initial_hash:  # no session yet
            try:
                async with asyncio.timeout(REPORT_SECONDS):
                    while not isinstance(await self._connection.receive(), Reset):
                        pass
            except TimeoutError:
                return Ending(EXIT_TERMINAL, withdrawn.word)
        self._connection.send(Dropped(0, drop.reason, drop.error_class, drop.where, drop.incident, is_final=True))
        await self._connection.settled(REPORT_SECONDS)
        return Ending(EXIT_TERMINAL, withdrawn.word)

    async def _listen(self, preload: asyncio.Future[None]) -> Ending:
        while True:
            message = await self._next()
            match message:
                case Reset(initial_hash):
                    self._reset(initial_hash)
                case Finished(reason):
                    log.info("the job has ended: %s", reason)
                    return Ending(EXIT_OK, Termination(reason, "the job has ended"))
                case Vector(kind=VectorKind.PARAMETERS) as vector:
                    await self._take_model(vector)
                case Vector() as vector:
                    await preload
                    self._take_initial(vector)
                case Control(payload):
                    await self._take_control(payload)

    async def _next(self) -> Incoming:
        """The next message; meanwhile work begins when all is there for it, and what fails ends this client."""
        receive: asyncio.Future[Incoming] = asyncio.ensure_future(self._connection.receive())
        try:
            while not receive.done():
                busy: set[asyncio.Future[Any]] = {
                    future for future in (self._loaded, self._round_task) if future is not None and not is_well(future)
                }
                done, _ = await asyncio.wait({receive, *busy}, return_when=asyncio.FIRST_COMPLETED)
                for future in done - {receive}:
                    future.result()
                self._begin_work()
            return receive.result()
        finally:
            receive.cancel()

    def _reset(self, initial_hash: bytes) -> None:
        log.info("a new session with the aggregator")
        if self._layout is not None and initial_hash != self._initial_hash:
            raise InitialModelChanged("the aggregator has another initial model than before")
        self._initial_hash, self._epoch, self._model = initial_hash, None, None
        self._initial.clear()

    def _take_initial(self, vector: Vector) -> None:
        self._initial[vector.kind] = vector
        if len(self._initial) < 2:
            return
        layout, model = self._initial[VectorKind.LAYOUT].words, self._initial[VectorKind.INITIAL].words
        if initial_hash(layout, model) != self._initial_hash:
            raise InitialModelChanged("the initial model is not the one whose hash the aggregator named")
        self._connection.holds = self._initial_hash
        self._initial.clear()
        self._layout = Layout.from_json(layout.tobytes())
        self._loaded = asyncio.get_running_loop().run_in_executor(self._heavy, self._work.load, self._layout, model.tobytes())

    async def _take_model(self, vector: Vector) -> None:
        if vector.tag >= self._job.rounds:  # the version is the round to train, and the schedule's place
            log.warning("refused a model: its version is %d, the job has %d rounds", vector.tag, self._job.rounds)
            return
        values = vector.words.view("<f4")
        digest = await offload(values.size, model_hash, self._initial_hash, vector.tag, values)
        self._model = Parameters(vector.tag, values, digest)
        self._begin_work()

    async def _take_control(self, payload: bytes) -> None:
        async with self._protocol:
            try:
                if starts_epoch(payload):
                    self._epoch = self._new_epoch()
                if self._epoch is None:
                    return
                replies = self._epoch.receive(payload)
            except PeerProtocolError as error:
                log.warning("refused a message of the aggregator: %s: %s", type(error).__name__, error)
                if isinstance(error, SumTooClose) and self._epoch is not None:
                    self._connection.send(Dropped(self._epoch.last_slot, DropReason.SUM_REFUSED))
                return
        for reply in replies:
            self._connection.send(Control(reply))
        self._begin_work()

    def _new_epoch(self) -> ClientEpoch | PlainClient:
        is_plain = self._job.aggregation.protocol == PLAIN
        kind = PlainClient if is_plain else ClientEpoch
        last = self._record.last(self._job.job_uid)
        try:
            if self._pinned is not None:
                check_policy(self._parameters, self._pinned, masked=not is_plain, whose="the policy pinned beside the tenant's key")
            epoch = kind(self._parameters, self._role.index, self._identity, self._role.policy, system_entropy, last)
        except (PolicyRefused, InvalidParameters) as error:
            drop = Drop(self._job.roster[self._role.index].client, DropReason.POLICY_REFUSED)
            message = f"{SENTENCES[drop.reason]}: {error}"
            raise Withdrawn(drop, Termination(drop.reason.value, message, drop=drop)) from error
        epoch.memory = self._memory
        return epoch

    def _begin_work(self) -> None:
        """Start on the open slot if all is there: its header, the model that it names, the task."""
        epoch, model, loaded = self._epoch, self._model, self._loaded
        if epoch is None or epoch.header is None or not epoch.is_participant or epoch.header.slot == self._working_on:
            return
        if model is None or loaded is None or not is_well(loaded) or epoch.header.model_hash != model.hash:
            return
        if self._round_task is not None and not self._round_task.done():
            return  # the last slot's training can't be interrupted; its end comes back here
        self._working_on = epoch.header.slot
        self._round_task = asyncio.create_task(self._round(epoch, epoch.header, model))

    async def _round(self, epoch: ClientEpoch | PlainClient, header: SlotHeader, model: Parameters) -> None:
        loop, slot = asyncio.get_running_loop(), header.slot
        use = loop.run_in_executor(None, self._record.use, self._job.job_uid, slot)  # beside the training: no time is lost
        try:
            encoded = await loop.run_in_executor(self._heavy, self._work.update, model.values, model.version)
            await use
            self._connection.last_slot = slot
        except Missed as missed:
            await asyncio.wait([use])
            drop = missed.drop
            self._connection.send(Dropped(slot, drop.reason, drop.error_class, drop.where, drop.incident))
            return
        except SlotUsed as error:
            log.error("%s", error)
            self._connection.send(Dropped(slot, DropReason.SLOT_USED))
            return
        async with self._protocol:
            if epoch is not self._epoch or epoch.header is not header:
                log.info("slot %d is over; its update is discarded", slot)
                return
            epoch.check_model(model.hash)
            shards = self._cores if len(encoded) > SHARD_WORDS else 1
            masked, signature = await offload(len(encoded), epoch.mask, encoded, run=self._maskers.map, shards=shards)
        log.debug("slot %d: masked", slot)
        self._connection.send(Vector(VectorKind.MASKED, slot, masked, signature))


def is_well(future: asyncio.Future[Any]) -> bool:
    """Whether it is done and nothing went wrong."""
    return future.done() and not future.cancelled() and future.exception() is None
