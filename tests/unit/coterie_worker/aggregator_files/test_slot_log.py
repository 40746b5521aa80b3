from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.coterie_worker.aggregator_files.crash_disk import CrashDisk, crashes

from coterie_worker.aggregator.slots import FILE, DamagedSlotLog, SlotLog, SlotUsedBefore


def fill(log):
    log.open_epoch(1)
    log.open_slot(1, 0)
    log.freeze(1, b"\x01" * 32)
    log.open_slot(2, 1)
    log.open_epoch(2)
    log.open_slot(12, 1)


def test_a_new_log_begins_with_slot_and_epoch_one(tmp_path):
    log = SlotLog(tmp_path)

    assert (log.next_slot, log.next_epoch) == (1, 1)


def test_a_restart_goes_on_after_the_highest_slot_and_epoch(tmp_path):
    fill(SlotLog(tmp_path))
    log = SlotLog(tmp_path)

    assert (log.next_slot, log.next_epoch) == (13, 3)


@pytest.mark.parametrize("restart", [False, True], ids=["same process", "after a restart"])
@pytest.mark.parametrize(
    "act",
    [
        lambda log: log.open_slot(12, 2),
        lambda log: log.open_slot(3, 2),
        lambda log: log.open_slot(0, 2),
        lambda log: log.open_epoch(2),
        lambda log: log.open_epoch(1),
        lambda log: log.freeze(1, b"\x02" * 32),
    ],
    ids=["the same slot", "an earlier slot", "slot zero", "the same epoch", "an earlier epoch", "other survivors"],
)
def test_nothing_is_opened_or_frozen_twice(tmp_path, act, restart):
    log = SlotLog(tmp_path)
    fill(log)
    if restart:
        log = SlotLog(tmp_path)
    before = (tmp_path / FILE).read_bytes()

    with pytest.raises(SlotUsedBefore, match="must be greater than"):
        act(log)

    assert before == (tmp_path / FILE).read_bytes()


def test_a_log_cut_at_any_byte_goes_on_after_its_last_whole_slot(tmp_path):
    fill(SlotLog(tmp_path))
    content = (tmp_path / FILE).read_bytes()
    for size in range(len(content) + 1):
        (tmp_path / FILE).write_bytes(content[:size])
        expected = 1
        for slot, line in ((1, b'{"slot":1,"round":0}\n'), (2, b'{"slot":2,"round":1}\n'), (12, b'{"slot":12,"round":1}\n')):
            expected = slot + 1 if line in content[:size] else expected

        log = SlotLog(tmp_path, CrashDisk(tmp_path))

        assert expected == log.next_slot
        log.open_slot(50, 9)
        assert SlotLog(tmp_path).next_slot == 51, "what is appended after a torn line is read"


@pytest.mark.parametrize("tail", [b"\0" * 30, b"\0" * 30 + b"\n", b'{"slot":', b"\r\r", b'{"slot":9}\r', b"[1]\n", b'"slot"'])
def test_a_torn_last_line_is_cut_off(tmp_path, tail):
    fill(SlotLog(tmp_path))
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content + tail)

    assert SlotLog(tmp_path).next_slot == 13
    assert content == (tmp_path / FILE).read_bytes()


@pytest.mark.parametrize(
    "line",
    [b"\0\0\0\n", b"{}\n", b'{"slot":true}\n', b'{"slot":"7"}\n', b"[7]\n", b'{"slot":1}\n', b'{"slot":0}\n', b'{"epoch":1}\n', b"\n"],
)
def test_damage_before_the_last_line_is_refused(tmp_path, line):
    fill(SlotLog(tmp_path))
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content + line + b'{"slot":40,"round":3}\n')

    with pytest.raises(DamagedSlotLog, match=f"{FILE}:7: "):
        SlotLog(tmp_path)


def test_a_whole_last_line_that_goes_back_is_refused(tmp_path):
    fill(SlotLog(tmp_path))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"slot":5,"round":3}\n')

    with pytest.raises(DamagedSlotLog, match="slot 5, must be greater than 12"):
        SlotLog(tmp_path)


def test_after_a_failed_write_nothing_more_is_opened(tmp_path):
    class Full:
        def append(self, path, data, *, sync=True):
            raise OSError("no space left on device")

    log = SlotLog(tmp_path, Full())
    with pytest.raises(OSError, match="no space"):
        log.open_slot(1, 0)

    with pytest.raises(DamagedSlotLog, match="an earlier write failed"):
        log.open_slot(2, 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=20))
def test_slots_strictly_increase_whatever_is_tried(tmp_path_factory, tries):
    folder = tmp_path_factory.mktemp("log")
    opened = []
    log = SlotLog(folder, CrashDisk(folder))
    for restart, slot in tries:
        if restart:
            log = SlotLog(folder, CrashDisk(folder))
        try:
            log.open_slot(slot, 0)
        except SlotUsedBefore:
            continue
        opened.append(slot)

    assert opened == sorted(set(opened))


def test_no_crash_frees_an_opened_slot_or_epoch(tmp_path):
    def play(folder, disk, witness):
        for _ in range(2):  # the second log begins with what the first left
            log = SlotLog(folder, disk)
            for _ in range(2):
                log.open_epoch(log.next_epoch)
                witness.append(("epoch", log.next_epoch - 1))
                log.open_slot(log.next_slot, 0)
                witness.append(("slot", log.next_slot - 1))

    for folder, witness in crashes(tmp_path, play):
        log = SlotLog(folder)

        assert log.next_slot > max([number for kind, number in witness if kind == "slot"], default=0)
        assert log.next_epoch > max([number for kind, number in witness if kind == "epoch"], default=0)


OPENED = b'{"slot":8,"round":3}\n{"frozen":8,"survivors":"00"}\n{"slot":9,"round":4}\n'
ASKED = b'{"asked":9,"round":4,"clients":[0,1]}\n'


def test_survivors_that_a_power_cut_took_are_cut_off_with_what_came_after(tmp_path):
    (tmp_path / FILE).write_bytes(OPENED + b'\0\0\0vors":"00"}\n' + ASKED)

    log = SlotLog(tmp_path)

    assert log.next_slot == 10
    assert log.asked_in(4) == frozenset()
    assert (tmp_path / FILE).read_bytes() == OPENED


@pytest.mark.parametrize(
    "content",
    [
        OPENED + b"\0\n" + ASKED + b'{"slot":10,"round":4}\n',
        OPENED + b"\0\n" + b'{"slot":10,"round":4}\n',
        OPENED + b"\0\n" + b'{"frozen":9,"survivors":"00"}\n',
        OPENED + b'{"frozen":9,"survivors":"00"}\n\0\n' + ASKED,
        OPENED + b"\0\n" + ASKED.replace(b"9", b"10"),
        OPENED + b"\0\n" + ASKED[:-4],
    ],
    ids=["opened after", "opened next", "survivors after", "survivors before", "of another slot", "torn twice"],
)
def test_any_other_damage_before_the_last_line_is_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)

    with pytest.raises(DamagedSlotLog):
        SlotLog(tmp_path)


def test_a_log_that_forgets_to_sync_is_caught(tmp_path):
    def play(folder, disk, witness):
        original = disk.append
        disk.append = lambda path, data, sync: original(path, data, sync=False)
        log = SlotLog(folder, disk)
        log.open_slot(1, 0)
        witness.append(1)
        log.open_slot(2, 0)

    assert any(SlotLog(folder).next_slot <= max(witness) for folder, witness in crashes(tmp_path, play) if witness)


def with_a_cheat(folder, disk=None):
    log = SlotLog(folder, disk) if disk else SlotLog(folder)
    log.open_slot(1, 0)
    log.ask(1, 0, frozenset({0, 1, 2, 3}))
    log.open_epoch(1)
    log.exclude(1, frozenset({2}))
    return log


@pytest.mark.parametrize("restart", [False, True], ids=["same process", "after a restart"])
def test_cheaters_are_in_no_sum_that_is_asked_for_again(tmp_path, restart):
    log = with_a_cheat(tmp_path)
    log = SlotLog(tmp_path) if restart else log

    assert log.excluded == {2}
    assert log.asked_in(0) == {0, 1, 3}
    assert log.asked_in(1) == set()


def test_cheaters_add_up_and_stay(tmp_path):
    log = with_a_cheat(tmp_path)
    log.open_slot(2, 0)
    log.ask(2, 0, frozenset({0, 1, 3}))
    log.exclude(2, frozenset({3, 0}))
    log.open_slot(3, 1)

    assert SlotLog(tmp_path).excluded == {0, 2, 3}
    assert SlotLog(tmp_path).asked_in(0) == {1}


def test_nobody_is_excluded_twice_for_one_slot(tmp_path):
    log = with_a_cheat(tmp_path)
    for slot in (0, 1):
        with pytest.raises(SlotUsedBefore, match=f"excluded {slot}, must be greater than 1"):
            log.exclude(slot, frozenset({3}))

    assert log.excluded == {2}


@pytest.mark.parametrize(
    "line",
    [b'{"excluded":2}\n', b'{"excluded":2,"clients":2}\n', b'{"excluded":2,"clients":["2"]}\n', b'{"excluded":2,"clients":[true]}\n'],
)
def test_an_exclusion_that_names_nobody_is_refused(tmp_path, line):
    with_a_cheat(tmp_path)
    with (tmp_path / FILE).open("ab") as file:
        file.write(line)

    with pytest.raises(DamagedSlotLog, match=f"{FILE}:5: not a line"):
        SlotLog(tmp_path)


def test_no_crash_takes_an_exclusion_back(tmp_path):
    def play(folder, disk, witness):
        with_a_cheat(folder, disk)
        witness.append("excluded")

    for folder, witness in crashes(tmp_path, play):
        log = SlotLog(folder)
        assert log.excluded == ({2} if witness else log.excluded)
        assert log.asked_in(0) in ({0, 1, 2, 3} - log.excluded, set())
