from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.cluster.daemons import Daemon, DaemonDiedError, Daemons, Identity, identity, state_and_start
from tests.cluster.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEP = Daemon("sleeper", ("/bin/sleep", "600"))


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    made = Daemons(tmp_path / "records", tmp_path / "logs")
    yield made
    for name in made.names():
        made.end(name)


def test_a_process_whose_name_holds_parentheses_is_read_rightly() -> None:
    fields = " ".join(str(number) for number in range(4, 53))

    assert state_and_start(f"42 (a) S (b) c) S {fields}") == ("S", 22)


def test_a_daemon_that_runs_is_not_started_again(daemons: Daemons) -> None:
    assert daemons.ensure(SLEEP)
    first = daemons.identity("sleeper")

    assert not daemons.ensure(SLEEP)
    assert daemons.identity("sleeper") == first


def test_a_daemon_that_was_killed_is_started_again(daemons: Daemons) -> None:
    daemons.ensure(SLEEP)
    first = daemons.identity("sleeper")
    daemons.kill("sleeper")

    assert daemons.ensure(SLEEP)
    assert daemons.identity("sleeper") != first


def test_a_daemon_with_another_command_is_replaced(daemons: Daemons) -> None:
    daemons.ensure(SLEEP)
    first = daemons.identity("sleeper")

    assert daemons.ensure(Daemon("sleeper", ("/bin/sleep", "601")))
    assert not first.is_alive()


def test_an_ended_daemon_is_gone_and_forgotten(daemons: Daemons) -> None:
    daemons.ensure(SLEEP)
    found = daemons.identity("sleeper")
    daemons.end("sleeper")

    assert not found.is_alive()
    assert daemons.names() == []


def test_a_process_id_of_another_program_is_neither_alive_nor_signaled() -> None:
    this = identity(os.getpid())
    assert this is not None
    reused = Identity(this.pid, this.started - 1, this.boot)

    reused.signal(9)

    assert not reused.is_alive()


def test_a_process_of_another_boot_is_not_alive() -> None:
    this = identity(os.getpid())
    assert this is not None

    assert not Identity(this.pid, this.started, "another boot").is_alive()


def test_no_process_has_no_identity() -> None:
    assert identity(2**22 + 1) is None


def test_a_daemon_that_ends_by_itself_fails_the_wait_with_its_log(daemons: Daemons) -> None:
    daemons.start(Daemon("liar", ("/bin/sh", "-c", "echo the reason; exit 3")))

    with pytest.raises(DaemonDiedError, match="the reason"):
        daemons.wait(lambda: False, "what never comes", 30)


def test_a_wait_in_vain_names_what_it_waited_for(daemons: Daemons) -> None:
    daemons.ensure(SLEEP)

    with pytest.raises(TimeoutError, match="what never comes"):
        daemons.wait(lambda: False, "what never comes", 0)


def test_a_wait_does_not_mind_a_daemon_that_was_killed_on_purpose(daemons: Daemons) -> None:
    daemons.ensure(SLEEP)
    daemons.kill("sleeper")

    daemons.wait(lambda: True, "anything")
    daemons.check()


def test_what_has_ended_by_itself_can_be_forgotten_and_what_runs_stays(daemons: Daemons) -> None:
    daemons.ensure(SLEEP)
    daemons.start(Daemon("short", ("/bin/true",)))
    short = daemons.identity("short")
    wait_until(lambda: not short.is_alive(), "it ends")

    assert daemons.forget_dead() == ["short"]
    assert daemons.names() == ["sleeper"]


def test_a_restart_repeats_command_and_environment(daemons: Daemons) -> None:
    daemons.start(Daemon("echo", ("/bin/sh", "-c", "echo said $WORD; exec sleep 600"), {"WORD": "hello"}))
    daemons.wait(lambda: daemons.tail("echo").count("said hello") == 1, "the first words")
    daemons.kill("echo")
    daemons.restart("echo")

    daemons.wait(lambda: daemons.tail("echo").count("said hello") == 2, "the same words")
