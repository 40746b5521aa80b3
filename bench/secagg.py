"""`make bench-secagg`: secure aggregation in one process and over gRPC, against bounds of the same run and Flower's primitives.

Times of one core are processor time, the best of several; times of all cores are wall-clock, bound and measurement in turn.
"""

# ruff: noqa: SLF001 - a measurement repeats what an epoch does once
from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import dataplane, peer
from bench.secagg_world import BenchWorld, encoding_for
from bench.table import Row, render
from coterie_worker.entropy import system_entropy
from coterie_worker.secagg.keys import OneUse
from coterie_worker.secagg.masks import CHUNK, keystream, take_masks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from coterie_worker.secagg import ClientEpoch
    from coterie_worker.secagg.masks import Masks

VALUES = 1_000_000
REPEATS = 5
CORES = len(os.sched_getaffinity(0))
MS = 1e3


def best(call: Callable[[], object], clock: Callable[[], float] = time.process_time, repeats: int = REPEATS) -> float:
    """Return the least seconds of several calls."""
    seconds = []
    for _ in range(repeats):
        begin = clock()
        call()
        seconds.append(clock() - begin)
    return min(seconds)


def one_pass(values: int = VALUES) -> None:
    """The bound's unit: an AES-256-CTR keystream over `values` words and one addition of it, nothing else."""
    stream, zeros = keystream(bytes(32)), bytes(4 * CHUNK)
    words, total = np.empty(CHUNK, np.uint32), np.zeros(CHUNK, np.uint32)
    update_into, add, target = stream.update_into, np.add, words.data.cast("B")
    for _ in range(values // CHUNK):
        update_into(zeros, target)
        add(total, words, out=total)
    rest = values % CHUNK
    update_into(zeros[: 4 * rest], target[: 4 * rest])
    add(total[:rest], words[:rest], out=total[:rest])


def random_masks(plus: int, minus: int) -> Masks:
    return take_masks(*([OneUse(system_entropy(32), "key") for _ in range(count)] for count in (plus, minus)))


def masking() -> Iterable[Row]:
    """A client's masks, and its whole `mask` call with key agreement, hash and signature."""
    vector = np.zeros(VALUES, np.uint32)
    for clients in (10, 50, 100):
        masks = random_masks(clients // 2, clients - clients // 2)
        bound, ours = [], []
        for _ in range(REPEATS):  # in turn, so that both see the same machine
            bound.append(best(one_pass, repeats=3))
            ours.append(best(lambda masks=masks: masks.apply(vector, 0), repeats=1))
        yield Row(f"client: {clients} masks, vs the bound", min(ours) * MS, clients * min(bound) * MS, "ms", 1.3)


def setting_up() -> Iterable[Row]:
    """A client's share of an epoch's set-up, averaged over all clients."""
    world = BenchWorld(100)
    world.set_up()
    yield Row("client: epoch set-up, n=100, 8 slots", sum(world.used["set-up"]) / 100 * MS, 60, "ms", 1)


def unmasking() -> Iterable[Row]:
    """The aggregator at n = 100, from the last share to the sum: interpolation, agreement, masks."""
    clients, vector = 100, np.zeros(VALUES, np.uint32)
    for dropped in (0, 10, 30):
        world = BenchWorld(clients, slots=1)
        world.set_up()
        world.open_slot(0, VALUES, range(dropped))
        world.upload(vector)
        world.collect()
        yield from _unmask(world, dropped)
        if not dropped:
            bound = clients * best(one_pass) + best(lambda: hashlib.sha256(vector.data).digest())
            yield Row("client: mask() with keys, hash, signature, n=100", min(world.used["mask"]) * MS, bound * MS, "ms", 1.3)


def _unmask(world: BenchWorld, dropped: int) -> Iterable[Row]:
    clients = len(world.clients)
    survivors = clients - dropped
    count = survivors * (1 + dropped)
    server = world.server
    begin = time.process_time()
    server.close()
    recovery = time.process_time() - begin
    secrets = dict(server._secrets)
    uploads = server._uploads
    assert uploads is not None

    def take(run: Callable[..., Iterable[None]], shards: int) -> None:
        server._secrets, server._opened = dict(secrets), None
        server.result(run=run, shards=shards)

    repeats = {0: 9, 10: 3}.get(dropped, 2)  # the shorter, the noisier
    bound = count * best(one_pass)
    ours = best(lambda: take(map, 1), repeats=repeats) + recovery
    yield Row(f"aggregator: n=100, {dropped} dropped, one core", ours * MS, bound * MS, "ms", 1.5)
    with ThreadPoolExecutor(CORES) as pool:
        wall, limits = [], []
        for _ in range(repeats):
            limits.append(best(lambda: list(pool.map(lambda _: one_pass(), range(count))), time.perf_counter, 1))
            wall.append(best(lambda: take(pool.map, CORES), time.perf_counter, 1))
    yield Row(f"aggregator: n=100, {dropped} dropped, {CORES} cores", (min(wall) + recovery) * MS, min(limits) * MS, "ms wall", 1.5)


def flower() -> Iterable[Row]:
    """One round of a hundred clients, ten dropped: what a client and the aggregator compute, ours and Flower's."""
    clients, dropped = 100, 10
    world = BenchWorld(clients)
    world.set_up()
    encoding = encoding_for(clients, VALUES)
    update = np.zeros(VALUES, np.float32)
    encode = best(lambda: encoding.encode(update, 1, system_entropy))
    world.open_slot(0, encoding.size, range(dropped))
    world.upload(encoding.encode(update, 1, system_entropy))
    world.collect()
    begin = time.process_time()
    world.server.close()
    encoding.decode(world.server.result().sum)
    server = time.process_time() - begin
    slots = world.parameters.slots_per_epoch
    client = max(world.used["set-up"][-1] / slots + encode + world.used["mask"][-1] + world.used["slot"][-1], 1e-9)
    theirs = _flower(clients, dropped)
    yield Row("client: a round, n=100, vs Flower", (theirs["sharing"] + theirs["masking"]) * MS, client * MS, "ms", 15, at_most=False)
    yield Row("aggregator: unmasking, n=100, 10 dropped, vs Flower", theirs["server"] * MS, server * MS, "ms", 50, at_most=False)


def _flower(clients: int, dropped: int) -> dict[str, float]:
    python = peer.flower() / "bin" / "python"
    script = Path(__file__).with_name("secagg_flower_peer.py")
    arguments = [str(python), str(script), str(clients), str(dropped), str(VALUES)]
    output = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("SECONDS "))
    return dict(json.loads(line.removeprefix("SECONDS ")))


def payload() -> Iterable[Row]:
    """Bytes of a masked input: words and one signature, against 4 bytes a parameter; and against 2 on the narrow ring."""
    from coterie_worker.secagg import Encoding

    for ring_bits, weighted in ((32, True), (16, False)):
        encoding = Encoding(256, 100, VALUES, weighted, ring_bits)
        size = 4 * encoding.size + 64
        yield Row(f"masked input per parameter, ring of {ring_bits} bits", size / VALUES, ring_bits / 8, "B", 1.0001)


LARGE = 100_000_000
LARGE_CLIENTS = 10


def large() -> Iterable[Row]:
    """A vector of 10^8 values, rounded, masked and hashed in parts, in a process of its own: the memory that is its own."""
    arguments = [sys.executable, "-m", "bench.secagg", "--large"]
    output = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    peak, seconds, bound = (float(number) for number in output.split()[-3:])
    yield Row("client: d=1e8 in parts, n=10, peak memory, vs 4 B x d", peak / 2**20, 4 * LARGE / 2**20, "MiB", 0.5)
    yield Row("client: d=1e8 in parts, n=10, rounding, masks, hash", seconds, LARGE_CLIENTS * bound, "s", 4)


def large_in_this_process() -> None:
    """Print peak bytes and seconds, and those of one pass."""
    world = BenchWorld(LARGE_CLIENTS, slots=1)
    world.set_up()
    encoding = encoding_for(LARGE_CLIENTS, LARGE)
    world.open_slot(0, encoding.size)
    client: ClientEpoch = world.clients[0]
    client.check_model(world.server.header.model_hash)  # type: ignore[union-attr]
    peak = 0
    with tempfile.TemporaryFile() as file:
        file.truncate(4 * LARGE)
        update = np.memmap(file, np.float32, "r", shape=(LARGE,))
        begin = time.process_time()
        masked = client.mask_parts(encoding.parts(update, 1, system_entropy))
        for _ in masked:
            peak = max(peak, own_memory())
        seconds = time.process_time() - begin
        assert len(masked.signature) == 64
    print(peak, seconds, best(lambda: one_pass(LARGE), repeats=2))


def own_memory() -> int:
    """Resident bytes that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


MEASUREMENTS: dict[str, Callable[[], Iterable[Row]]] = {
    "masking": masking,
    "set-up": setting_up,
    "unmasking": unmasking,
    "payload": payload,
    "large": large,
    "flower": flower,
    "round": dataplane.secure_round,
    "pace": dataplane.pace,
    "crowd-memory": dataplane.crowd_memory,
    "two-hundred": dataplane.two_hundred,
}


def main(names: list[str]) -> int:
    if names == ["--large"]:
        large_in_this_process()
        return 0
    rows = [row for name in names or MEASUREMENTS for row in MEASUREMENTS[name]()]
    print(render(rows))
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
