from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.coterie_worker.aggregator_files.crash_disk import CrashDisk, crashes

from coterie_worker.client.state import FILE, SCHEMA, SlotRecord, SlotUsed, UnreadableRecord
from coterie_worker.durable import FolderInUse

USES = (("a", 1), ("a", 2), ("b", 1), ("a", 7))


def last_after(folder):
    with SlotRecord(folder) as record:
        return {job: record.last(job) for job in "abc"}


def test_a_new_record_has_used_nothing(tmp_path):
    assert last_after(tmp_path) == {"a": -1, "b": -1, "c": -1}


def test_a_used_slot_is_remembered_over_a_restart(tmp_path):
    with SlotRecord(tmp_path) as record:
        record.use("a", 3)

    assert last_after(tmp_path) == {"a": 3, "b": -1, "c": -1}


@pytest.mark.parametrize("slot", [3, 2, 0])
@pytest.mark.parametrize("restart", [False, True], ids=["same process", "after a restart"])
def test_a_slot_that_is_not_greater_is_refused(tmp_path, slot, restart):
    record = SlotRecord(tmp_path)
    record.use("a", 3)
    if restart:
        record.close()
        record = SlotRecord(tmp_path)

    with closing(record), pytest.raises(SlotUsed, match=f"slot {slot} of job a: must be greater than 3"):
        record.use("a", slot)

    assert last_after(tmp_path)["a"] == 3


def test_jobs_have_slots_of_their_own(tmp_path):
    with SlotRecord(tmp_path) as record:
        record.use("a", 9)
        record.use("b", 1)

        with pytest.raises(SlotUsed):
            record.use("a", 9)

    assert last_after(tmp_path) == {"a": 9, "b": 1, "c": -1}


def test_a_skipped_slot_is_gone(tmp_path):
    with SlotRecord(tmp_path) as record:
        record.use("a", 1)
        record.use("a", 5)

        with pytest.raises(SlotUsed):
            record.use("a", 3)


@pytest.mark.parametrize(("job", "slot"), [("a", -1), ("", 1)])
def test_nonsense_is_refused(tmp_path, job, slot):
    with SlotRecord(tmp_path) as record, pytest.raises(ValueError, match="must be at least 0, and the job must have a uid"):
        record.use(job, slot)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=20))
def test_no_slot_is_ever_used_twice(tmp_path_factory, uses):
    folder = tmp_path_factory.mktemp("state")
    passed = []
    for job, slot in uses:
        with SlotRecord(folder, CrashDisk(folder)) as record:  # a restart after every use
            try:
                record.use(job, slot)
            except SlotUsed:
                continue
            passed.append((job, slot))

    assert len(passed) == len(set(passed))
    for job in "ab":
        slots = [slot for owner, slot in passed if owner == job]
        assert slots == sorted(slots)


# Two at once.


def test_a_second_record_on_the_same_state_is_refused(tmp_path):
    with SlotRecord(tmp_path), pytest.raises(FolderInUse, match="locked by another process"):
        SlotRecord(tmp_path)


def test_the_state_is_free_again_after_a_damaged_one_was_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"{}")
    with pytest.raises(UnreadableRecord):
        SlotRecord(tmp_path)
    (tmp_path / FILE).unlink()

    assert last_after(tmp_path)["a"] == -1


def test_a_closed_record_refuses(tmp_path):
    record = SlotRecord(tmp_path)
    record.close()

    with pytest.raises(UnreadableRecord):
        record.use("a", 1)


def test_another_process_is_refused_until_the_first_is_killed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from coterie_worker.client.state import SlotRecord\n"
        "record = SlotRecord(Path(sys.argv[1])); record.use('a', 4); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FolderInUse):
            SlotRecord(tmp_path)
        other.kill()
        other.wait()

    with SlotRecord(tmp_path) as record, pytest.raises(SlotUsed):
        record.use("a", 4)


# Damage.


def written(folder):
    with SlotRecord(folder) as record:
        for job, slot in USES:
            record.use(job, slot)
    return (folder / FILE).read_bytes()


def test_a_record_cut_at_any_byte_is_refused(tmp_path):
    content = written(tmp_path)
    for size in range(len(content)):
        (tmp_path / FILE).write_bytes(content[:size])

        with pytest.raises(UnreadableRecord):
            SlotRecord(tmp_path)


def test_a_record_with_any_byte_changed_is_refused(tmp_path):
    content = written(tmp_path)
    for position, byte in enumerate(content):
        (tmp_path / FILE).write_bytes(content[:position] + bytes([byte ^ 1]) + content[position + 1 :])

        with pytest.raises(UnreadableRecord):
            SlotRecord(tmp_path)


def test_a_newer_record_is_refused_by_name(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"schema": "coterie/client-state/v2", "last_slots": {}}))

    with pytest.raises(UnreadableRecord, match=f"schema is 'coterie/client-state/v2', this Coterie reads '{SCHEMA}'"):
        SlotRecord(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'{"schema":"coterie/client-state/v1"}',
        b'{"schema":"coterie/client-state/v1","last_slots":{"a":true}}',
        b"\0" * 80,
    ],
    ids=["empty", "null", "list", "number", "no slots", "slot is no number", "zeros"],
)
def test_what_is_no_record_is_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)

    with pytest.raises(UnreadableRecord):
        SlotRecord(tmp_path)


# Crashes.


def use_all(folder, disk, witness):
    with SlotRecord(folder, disk) as record:
        for job, slot in USES:
            record.use(job, slot)
            witness.append((job, slot))  # from here on, masked bytes may have left


def lost_uses(tmp_path, play):
    """Return the uses that returned before a crash, and that a record opened after it would allow again."""
    return [(job, slot) for folder, witness in crashes(tmp_path, play) for job, slot in witness if last_after(folder)[job] < slot]


def test_no_crash_forgets_a_used_slot(tmp_path):
    assert lost_uses(tmp_path, use_all) == []


def test_a_record_that_forgets_to_sync_is_caught(tmp_path):
    def play(folder, disk, witness):
        use_all(folder, _without_sync(disk), witness)

    assert lost_uses(tmp_path, play) != []


def _without_sync(disk):
    """The same disk, that syncs no folder."""
    original = disk.sync
    disk.sync = lambda path: disk._step() if path.is_dir() else original(path)
    return disk


def test_after_a_failed_write_nothing_more_is_used(tmp_path):
    class Full:
        def write(self, path, parts):
            raise OSError("no space left on device")

    with SlotRecord(tmp_path, Full()) as record:
        with pytest.raises(OSError, match="no space"):
            record.use("a", 1)
        with pytest.raises(UnreadableRecord, match="an earlier write failed"):
            record.use("a", 2)

    assert last_after(tmp_path)["a"] == -1


def test_a_left_over_temporary_file_does_no_harm(tmp_path):
    (tmp_path / (FILE + ".tmp")).write_bytes(b"torn")
    with SlotRecord(tmp_path) as record:
        record.use("a", 1)

    assert last_after(tmp_path)["a"] == 1
    assert not (tmp_path / (FILE + ".tmp")).exists()
