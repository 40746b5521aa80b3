"""Z_2^16 with two elements in a word, and vectors that are rounded, masked and hashed part by part."""

from __future__ import annotations

import hashlib
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from Crypto.Cipher import AES
from Crypto.Util import Counter
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.coterie_worker.secagg.simulation import World, model_of, parameters_for, seeded, vector_of

from coterie_worker.secagg import Encoding, errors
from coterie_worker.secagg.errors import BadVector, InvalidParameters, KeyUsed, NotFinite, WrongStage
from coterie_worker.secagg.keys import OneUse
from coterie_worker.secagg.masks import CHUNK, elements, take_masks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

NARROW = Encoding(scale=256, members=6, length=1001, weighted=False, ring_bits=16)


def update_of(index: int, length: int) -> NDArray[np.float32]:
    return np.random.default_rng(index).uniform(-20, 20, length).astype(np.float32)


def narrow_world(length: int, slots: int = 1) -> World:
    return World(parameters_for(6, ring_bits=16, scale=256, slots=slots)).set_up().open(length=length)


def test_the_sum_on_the_narrow_ring_is_right_to_the_last_rounding_with_a_drop() -> None:
    world = narrow_world(NARROW.size)
    world.lose({5})
    for i in range(5):
        world.clients[i].check_model(model_of(0))
        vector = NARROW.encode(update_of(i, 1001), 1, seeded("round", i))
        world.server.accept(i, *world.clients[i].mask(vector))
    decoded = NARROW.decode(world.finish().sum)
    exact = sum(update_of(i, 1001).astype(np.float64) for i in range(5))

    assert np.abs(decoded.sum - exact).max() < 5 / 256
    assert decoded.clamped == 0
    assert decoded.weight is None


def test_a_payload_on_the_narrow_ring_is_two_bytes_a_parameter() -> None:
    assert Encoding(256, 100, 10**6, weighted=False, ring_bits=16).size * 4 == 2 * 10**6 + 4
    assert Encoding(256, 100, 10**6 + 1, weighted=False, ring_bits=16).size * 4 == 2 * 10**6 + 4


@pytest.mark.parametrize("members", [1, 2, 7, 100, 256, 1000])
def test_sums_of_extreme_values_never_wrap_on_the_narrow_ring(members: int) -> None:
    encoding = Encoding(256, members, 2, weighted=False, ring_bits=16)
    total = np.zeros(encoding.size, np.uint32)
    for i in range(members):
        one = encoding.encode(np.array([1e9, -1e9], np.float32), 1, seeded(i))
        lanes = elements(total, 16)
        np.add(lanes, elements(one, 16), out=lanes)
    decoded = encoding.decode(total)

    assert decoded.sum.tolist() == [encoding.bound * members / 256, -encoding.bound * members / 256]
    assert decoded.clamped == min(2, encoding.bound) * members


def test_rounding_on_the_narrow_ring_is_unbiased() -> None:
    """A sum of 10^5 rounded values: a false alarm beyond 6 standard deviations has a probability below 2e-9 over the seed."""
    encoding = Encoding(1, 2, 100_000, weighted=False, ring_bits=16)
    words = encoding.encode(np.full(100_000, 0.3, np.float32), 1, seeded("unbiased"))
    ones = int(elements(words, 16)[:100_000].sum(dtype=np.int64))
    deviation = (100_000 * 0.3 * 0.7) ** 0.5

    assert abs(ones - 30_000) < 6 * deviation
    assert abs(ones - 0) > 6 * deviation  # rounding to nearest, the broken twin, gives none at all


def test_masks_on_the_narrow_ring_are_the_halves_of_the_keystream_and_borrow_nothing() -> None:
    key, length = bytes(range(32)), CHUNK + 7
    stream = AES.new(key, AES.MODE_CTR, counter=Counter.new(128, initial_value=0)).encrypt(bytes(4 * length))
    minus = np.zeros(length, np.uint32)
    take_masks([], [OneUse(key, "key")], 16).apply(minus, 0)

    assert np.array_equal(minus.view("<u2"), (0 - np.frombuffer(stream, "<u2").astype(np.int64)).astype(np.uint16))
    assert not np.array_equal(minus, (0 - np.frombuffer(stream, "<u4").astype(np.int64)).astype(np.uint32))


@pytest.mark.parametrize(
    "bad",
    [
        {"ring_bits": 8},
        {"ring_bits": 24},
        {"ring_bits": 16, "weighted": True},
        {"ring_bits": 16, "members": 40_000},
        {"ring_bits": 16, "scale": 0},
    ],
)
def test_encodings_that_do_not_fit_the_narrow_ring_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameters):
        Encoding(**({"scale": 256, "members": 6, "length": 10, "weighted": False} | bad))


def test_both_parties_name_the_ring_in_what_they_sign() -> None:
    assert parameters_for(6, ring_bits=16).base != parameters_for(6).base


ENCODINGS = [
    Encoding(65536, 6, 1000, weighted=True),
    Encoding(65536, 6, 999, weighted=False),
    Encoding(256, 6, 1000, weighted=False, ring_bits=16),
    Encoding(256, 6, 999, weighted=False, ring_bits=16),
    Encoding(256, 6, 0, weighted=False, ring_bits=16),
]


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(ENCODINGS), st.integers(1, 300))
def test_parts_are_the_whole_vector_at_every_size_of_part(encoding: Encoding, quarter: int) -> None:
    update = update_of(1, encoding.length)
    factor = 0.25 if encoding.weighted else 1
    parts = list(encoding.parts(update, factor, seeded("parts"), words=4 * quarter))

    assert np.array_equal(np.concatenate(parts), encoding.encode(update, factor, seeded("parts")))


@pytest.mark.parametrize("ring_bits", [16, 32])
def test_a_vector_masked_in_parts_and_threads_has_the_bytes_and_signature_of_the_whole(ring_bits: int) -> None:
    length = 3 * CHUNK + 5
    worlds = [World(parameters_for(4, ring_bits=ring_bits, slots=1)).set_up().open(length=length) for _ in range(2)]
    for world in worlds:
        world.clients[1].check_model(model_of(0))
    whole, signature = worlds[0].clients[1].mask(vector_of(1, length=length))
    vector = vector_of(1, length=length)
    with ThreadPoolExecutor(2) as pool:
        masked = (
            worlds[1].clients[1].mask_parts((vector[low : low + CHUNK + 4] for low in range(0, length, CHUNK + 4)), run=pool.map, shards=2)
        )
        parts = [part.copy() for part in masked]

    assert np.array_equal(np.concatenate(parts), whole)
    assert masked.signature == signature
    worlds[1].server.accept(1, np.concatenate(parts), masked.signature)


def parts_of(*sizes: int) -> Iterator[NDArray[np.uint32]]:
    return (np.zeros(size, np.uint32) for size in sizes)


@pytest.mark.parametrize("sizes", [(12,), (12, 4), (4, 5, 4), (13, 4), (3, 10), ()])
def test_parts_that_are_not_the_vector_are_never_signed_and_the_slot_is_spent(sizes: tuple[int, ...]) -> None:
    world = World(parameters_for(4)).set_up().open()
    client = world.clients[0]
    client.check_model(model_of(0))
    masked = client.mask_parts(parts_of(*sizes))
    with pytest.raises(BadVector, match="parts"):
        list(masked)
    with pytest.raises(WrongStage, match="signature"):
        _ = masked.signature
    with pytest.raises(KeyUsed):
        client.mask_parts(parts_of(13))
    with pytest.raises(KeyUsed):
        client.mask(vector_of(0))


def test_parts_of_another_type_and_an_update_that_is_not_finite_are_refused() -> None:
    world = World(parameters_for(4)).set_up().open()
    world.clients[0].check_model(model_of(0))
    with pytest.raises(BadVector, match="words"):
        list(world.clients[0].mask_parts(np.zeros(4, np.int64) for _ in range(2)))  # type: ignore[misc]
    update = np.zeros(100, np.float32)
    update[99] = np.nan
    with pytest.raises(NotFinite):
        list(Encoding(256, 4, 100, weighted=False).parts(update, 1, seeded(), words=20))


def test_there_is_no_signature_before_the_last_part_and_one_after_it() -> None:
    world = World(parameters_for(4)).set_up().open()
    world.clients[0].check_model(model_of(0))
    masked = world.clients[0].mask_parts(parts_of(8, 5))
    steps = iter(masked)
    next(steps)
    with pytest.raises(WrongStage, match="8 of 13"):
        _ = masked.signature
    assert len(list(steps)) == 1
    assert len(masked.signature) == 64
    with pytest.raises(errors.KeyUsed):
        world.clients[0].mask(vector_of(0))


def test_memory_of_parts_does_not_grow_with_the_vector(tmp_path: Path) -> None:
    """Rounded, masked and hashed from a file: what is allocated is a part and scratch, at any length."""
    peaks = []
    for length in (2**20, 2**22):
        file = tmp_path / f"{length}.f32"
        np.zeros(length, np.float32).tofile(file)
        update = np.memmap(file, np.float32, "r")
        encoding = Encoding(65536, 4, length, weighted=False)
        world = World(parameters_for(4, slots=1)).set_up()
        world.send(world.server.start_slot(0, model_of(0), world.server.live, 0, encoding.size))
        world.clients[0].check_model(model_of(0))
        digest = hashlib.sha256()
        tracemalloc.start()
        for part in world.clients[0].mask_parts(encoding.parts(update, 1, seeded(), words=2**17)):
            digest.update(part.data)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 8 * 4 * 2**17
