"""Secure aggregation, sans-I/O: the aggregator learns the sum of the clients' vectors and nothing else about them.

Epoch-provisioned SecAgg+ on the complete graph, above 200 clients on a Harary graph (docs/secure-aggregation.md). No clock, no
randomness, no network: control messages are opaque bytes, deadlines are calls of `close`, entropy is an argument. Clients are
roster positions.

How an aggregator's shell drives it (`ServerEpoch`; `PlainServer` the same):

    epoch = ServerEpoch(parameters, epoch=1, first_slot=next_slot, members=connected)
    send(epoch.start())                                   # a dict: client -> one control message
    while epoch.stage is not Stage.READY:                 # set-up; may run while nothing trains
        await all of epoch.waiting_for, or a deadline     # each incoming control message: epoch.receive(sender, payload)
        send(epoch.close())                               # TooFewSurvivors: the epoch is lost, make another
    for each slot, while epoch.remaining_slots:
        send(epoch.start_slot(slot, model_hash, participants, deadline, encoding.size))   # slot durable first!
        await all of epoch.waiting_for, or the deadline   # each whole upload: epoch.accept(sender, vector, signature);
        outbox = epoch.close()                            #   a client whose task failed: epoch.skip(sender)
        write epoch.frozen down                           # FrozenSlot.to_bytes(), before any of outbox leaves; synced only where a
                                                          #   later process takes up an opened slot: ours never does (docs/adr/0012)
        send(outbox)
        while epoch.stage is not Stage.DONE:              # consistency, unmasking; nothing for PlainServer
            await all of epoch.waiting_for, or a deadline
            send(epoch.close())                           # TooFewSurvivors, DealerCheated: slot burnt, stage Ready again
                                                          #   (send error.proofs to everyone else; start an epoch without error.dealers)
        total = await to_thread(epoch.result)             # heavy; Encoding.decode(total.sum)

A lost connection: `epoch.drop(sender)`; the client is out until the next epoch. `receive` and `accept` raise
PeerProtocolError with `.sender` and change nothing: ignore `TooLate` and `WrongSession` (the sender is slow), `drop` it for any
other.
`accept` (SHA-256 and one addition), `close` out of UNMASK and `result` take long for long vectors and release the
interpreter's lock: call them from a thread, but one at a time. `result(run=pool.map, shards=k)` uses k threads.

How a client's shell drives it (`ClientEpoch`; `PlainClient` the same):

    for each control message:
        if starts_epoch(payload):                         # keys live in memory for one epoch: always a new object
            client = ClientEpoch(parameters, index, identity, policy, system_entropy, last_slot=record.last_slot)
            client.memory = memory                        # one ClientMemory for all epochs of the process
        for reply in client.receive(payload): send(reply) # PeerProtocolError: refused; log it, tell the aggregator, go on
        when client.header is a new one and client.is_participant:
            client.check_model(sha256(loaded parameters)); train; vector = encoding.encode(update, factor, system_entropy)
            record.use(job_uid, client.header.slot)       # durable before the first byte that depends on data
            vector, signature = await to_thread(client.mask, vector)   # once per slot; no receive() meanwhile
            upload(vector, signature)

A vector too large for memory: `client.mask_parts(encoding.parts(update, 1, system_entropy))` yields it masked, part by part; its
`signature` is there after the last. With a Harary graph nearly everyone has to be asked in each slot: `start_slot` and `close` raise
TooFewSurvivors where a participant would be left with too few neighbors.

A header of a later slot may arrive while training: then `check_model` has to be called again, and `mask` refuses until it
is, so an update can't go out under another slot's header.
"""

from __future__ import annotations

from coterie_worker.secagg.client import ClientEpoch
from coterie_worker.secagg.errors import (
    DealerCheated,
    InvalidParameters,
    LocalProtocolError,
    NotFinite,
    PeerProtocolError,
    PolicyRefused,
    SecaggError,
    SumTooClose,
    TooFewSurvivors,
    TooLate,
    WrongSession,
)
from coterie_worker.secagg.memory import ClientMemory
from coterie_worker.secagg.messages import SlotStart as SlotHeader
from coterie_worker.secagg.messages import starts_epoch
from coterie_worker.secagg.parameters import (
    Member,
    SessionParameters,
    check_policy,
    default_colluders,
    least_threshold,
    parameters_of,
)
from coterie_worker.secagg.plain import PlainClient, PlainServer
from coterie_worker.secagg.quantize import Decoded, Encoding
from coterie_worker.secagg.server import ServerEpoch
from coterie_worker.secagg.serving import Outbox
from coterie_worker.secagg.transitions import ClientStage, Stage
from coterie_worker.secagg.uploads import FrozenSlot, SlotSum

__all__ = [
    "ClientEpoch",
    "ClientMemory",
    "ClientStage",
    "DealerCheated",
    "Decoded",
    "Encoding",
    "FrozenSlot",
    "InvalidParameters",
    "LocalProtocolError",
    "Member",
    "NotFinite",
    "Outbox",
    "PeerProtocolError",
    "PlainClient",
    "PlainServer",
    "PolicyRefused",
    "SecaggError",
    "ServerEpoch",
    "SessionParameters",
    "SlotHeader",
    "SlotSum",
    "Stage",
    "SumTooClose",
    "TooFewSurvivors",
    "TooLate",
    "WrongSession",
    "check_policy",
    "default_colluders",
    "least_threshold",
    "parameters_of",
    "starts_epoch",
]
