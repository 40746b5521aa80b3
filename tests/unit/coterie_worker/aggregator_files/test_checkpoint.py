from __future__ import annotations

import hashlib
import json
import tracemalloc
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.unit.coterie_worker.aggregator_files.crash_disk import CrashDisk, crashes

from coterie_worker.aggregator.checkpoint import FILE, Checkpoint, ForeignCheckpoint, Snapshot, UnreadableCheckpoint
from coterie_worker.durable import FolderInUse
from coterie_worker.rounds import Selection

SMALL = Snapshot(
    job_uid="job",
    layout_hash="1f",
    rounds_done=3,
    next_slot=5,
    next_epoch=2,
    parameters=np.array([1.5, -2.0, np.float32(1e-30)], dtype=np.float32),
    moments={"momentum": np.array([0.25, 4.0], dtype=np.float32)},
    selection=Selection(2, 0.75, 3),
)


def saved(folder, snapshot=SMALL):
    with closing(Checkpoint(folder)) as checkpoint:
        checkpoint.save(snapshot)
    return (folder / FILE).read_bytes()


def loaded(folder, job_uid="job", layout_hash="1f"):
    with closing(Checkpoint(folder)) as checkpoint:
        return checkpoint.load(job_uid, layout_hash)


def same(left, right):
    def plain(snapshot):
        moments = {name: vector.tobytes() for name, vector in snapshot.moments.items()}
        return replace(snapshot, parameters=snapshot.parameters.tobytes(), moments=moments)

    return plain(left) == plain(right)


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    assert loaded(tmp_path) is None


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    saved(tmp_path)

    assert same(SMALL, loaded(tmp_path))


vectors = arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32, allow_nan=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    vectors, st.dictionaries(st.sampled_from(["momentum", "first_moment", "second_moment"]), vectors), st.integers(0, 99), st.floats(-9, 9)
)
def test_every_state_comes_back(tmp_path, parameters, moments, number, value):
    snapshot = Snapshot("job", "1f", number, number + 1, number + 2, parameters, moments, Selection(number, value, number))
    saved(tmp_path, snapshot)

    assert same(snapshot, loaded(tmp_path))


def test_vectors_longer_than_a_block_come_back(tmp_path):
    long = replace(SMALL, parameters=np.arange((1 << 20) * 2 + 7, dtype=np.float32))
    saved(tmp_path, long)

    assert same(long, loaded(tmp_path))


def test_the_file_is_what_its_description_says(tmp_path):
    content = saved(tmp_path)
    magic, length, rest = content.split(b"\n", 2)
    header = json.loads(rest[: int(length)])
    data, digest = rest[int(length) : -32], rest[-32:]

    assert magic == b"COTERIE-CHECKPOINT 1"
    assert header["arrays"] == [["parameters", 3], ["momentum", 2]]
    assert np.frombuffer(data, "<f4").tolist() == [*SMALL.parameters.tolist(), 0.25, 4.0]
    assert digest == hashlib.sha256(content[:-32]).digest()


def test_saving_and_loading_make_no_copy_of_the_state(tmp_path):
    big = replace(SMALL, parameters=np.zeros(8 << 20, dtype=np.float32))
    tracemalloc.start()

    saved_at = tracemalloc.get_traced_memory()[0]
    with closing(Checkpoint(tmp_path)) as checkpoint:
        checkpoint.save(big)
        save_peak = tracemalloc.get_traced_memory()[1] - saved_at
        tracemalloc.reset_peak()
        snapshot = checkpoint.load("job", "1f")
        load_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert save_peak < big.parameters.nbytes / 4
    assert load_peak < 1.25 * snapshot.parameters.nbytes + saved_at


def test_a_later_checkpoint_takes_the_place_of_the_earlier(tmp_path):
    saved(tmp_path)
    saved(tmp_path, replace(SMALL, rounds_done=4))

    assert loaded(tmp_path).rounds_done == 4


def test_a_second_aggregator_on_the_same_volume_is_refused(tmp_path):
    with closing(Checkpoint(tmp_path)), pytest.raises(FolderInUse, match="exactly one may use this folder"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(("job_uid", "layout_hash"), [("other", "1f"), ("job", "2f")], ids=["another job", "another model"])
def test_a_foreign_checkpoint_is_refused(tmp_path, job_uid, layout_hash):
    saved(tmp_path)

    with pytest.raises(ForeignCheckpoint, match="this job's is"):
        loaded(tmp_path, job_uid, layout_hash)


def test_a_checkpoint_cut_at_any_byte_is_refused(tmp_path):
    content = saved(tmp_path)
    for size in range(len(content)):
        (tmp_path / FILE).write_bytes(content[:size])

        with pytest.raises(UnreadableCheckpoint):
            loaded(tmp_path)


def test_a_checkpoint_with_any_byte_changed_is_refused(tmp_path):
    content = saved(tmp_path)
    for position, byte in enumerate(content):
        (tmp_path / FILE).write_bytes(content[:position] + bytes([byte ^ 1]) + content[position + 1 :])

        with pytest.raises(UnreadableCheckpoint):
            loaded(tmp_path)


def test_a_checkpoint_with_something_after_its_end_is_refused(tmp_path):
    content = saved(tmp_path)
    (tmp_path / FILE).write_bytes(content + b"\0")

    with pytest.raises(UnreadableCheckpoint, match="hash"):
        loaded(tmp_path)


def sealed(header, data=b""):
    """A file that hashes right, with any header."""
    text = json.dumps(header).encode()
    content = b"COTERIE-CHECKPOINT 1\n%d\n%s%s" % (len(text), text, data)
    return content + hashlib.sha256(content).digest()


HEADER = {
    "job_uid": "job",
    "layout_hash": "1f",
    "rounds_done": 0,
    "next_slot": 1,
    "next_epoch": 1,
    "selection": {},
    "arrays": [["parameters", 0]],
}

NONSENSE = {
    "no arrays": {**HEADER, "arrays": []},
    "an array of negative length": {**HEADER, "arrays": [["parameters", -1]]},
    "an array beyond all memory": {**HEADER, "arrays": [["parameters", 10**17]]},
    "an array beyond the file": {**HEADER, "arrays": [["parameters", 10**6]]},
    "no round": {key: value for key, value in HEADER.items() if key != "rounds_done"},
    "a round that is no number": {**HEADER, "rounds_done": "many"},
    "an unknown field of the selection": {**HEADER, "selection": {"luck": 7}},
    "arrays that are no list": {**HEADER, "arrays": 7},
}


def test_the_plain_header_is_read(tmp_path):
    (tmp_path / FILE).write_bytes(sealed(HEADER))

    assert loaded(tmp_path).rounds_done == 0


@pytest.mark.parametrize("case", NONSENSE)
def test_a_header_that_makes_no_sense_is_refused(tmp_path, case):
    (tmp_path / FILE).write_bytes(sealed(NONSENSE[case]))

    with pytest.raises(UnreadableCheckpoint, match="damaged"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"COTERIE-CHECKPOINT \n", b"COTERIE-CHECKPOINT 1\n99999999999\n", b"COTERIE-CHECKPOINT 0\n2\n{}", b"\0" * 200],
    ids=["empty", "another file", "no version", "endless header", "version zero", "zeros"],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)

    with pytest.raises(UnreadableCheckpoint):
        loaded(tmp_path)


def test_a_newer_format_is_refused_by_name(tmp_path):
    (tmp_path / FILE).write_bytes(saved(tmp_path).replace(b"COTERIE-CHECKPOINT 1", b"COTERIE-CHECKPOINT 2"))

    with pytest.raises(UnreadableCheckpoint, match="format version is 2, this Coterie reads up to 1"):
        loaded(tmp_path)


def test_no_crash_loses_a_saved_checkpoint(tmp_path):
    def play(folder, disk, witness):
        with closing(Checkpoint(folder, disk)) as checkpoint:
            for rounds_done in (1, 2, 3):
                checkpoint.save(replace(SMALL, rounds_done=rounds_done))
                checkpoint.settle()
                witness.append(rounds_done)

    for folder, witness in crashes(tmp_path, play):
        found = loaded(folder)
        rounds_done = 0 if found is None else found.rounds_done

        assert max(witness, default=0) <= rounds_done <= len(witness) + 1


def test_until_it_is_settled_a_crash_leaves_the_checkpoint_or_the_one_before(tmp_path):
    def play(folder, disk, witness):
        with closing(Checkpoint(folder, disk)) as checkpoint:
            for rounds_done in (1, 2, 3):
                checkpoint.save(replace(SMALL, rounds_done=rounds_done))
                witness.append(rounds_done)
                checkpoint.settle()

    found = [(witness, loaded(folder)) for folder, witness in crashes(tmp_path, play)]

    assert all(max(witness, default=0) - 1 <= (seen.rounds_done if seen else 0) <= len(witness) + 1 for witness, seen in found)
    assert any(seen is None for witness, seen in found if witness), "settling is what makes it stay"


def test_settling_again_has_nothing_to_do(tmp_path):
    disk = CrashDisk(tmp_path)
    with closing(Checkpoint(tmp_path, disk)) as checkpoint:
        checkpoint.settle()
        assert disk.calls == 0
        checkpoint.save(SMALL)
        checkpoint.settle()
        calls = disk.calls
        checkpoint.settle()

    assert disk.calls == calls


def test_what_must_come_first_has_come_before_the_checkpoint_counts(tmp_path):
    seen = []
    with closing(Checkpoint(tmp_path)) as checkpoint:
        checkpoint.save(SMALL, lambda: seen.append((tmp_path / FILE).exists()))

    assert seen == [False]


def test_when_what_must_come_first_fails_the_checkpoint_before_stays(tmp_path):
    def first():
        raise OSError("no space left on device")

    with closing(Checkpoint(tmp_path)) as checkpoint:
        checkpoint.save(SMALL)
        with pytest.raises(OSError, match="no space"):
            checkpoint.save(replace(SMALL, rounds_done=9), first)

    assert loaded(tmp_path).rounds_done == SMALL.rounds_done


def test_a_checkpoint_that_overwrites_the_one_before_is_caught(tmp_path):
    def play(folder, disk, witness):
        def in_place(path, parts):
            disk.write(path, parts)

        with closing(Checkpoint(folder, disk)) as checkpoint:
            checkpoint.save(SMALL)
            witness.append(1)
            in_place(folder / FILE, [b"COTERIE-CHECKPOINT 1\n half of it"])

    def is_lost(folder, witness):
        try:
            return bool(witness) and loaded(folder) is None
        except UnreadableCheckpoint:
            return True

    assert any(is_lost(folder, witness) for folder, witness in crashes(tmp_path, play))
