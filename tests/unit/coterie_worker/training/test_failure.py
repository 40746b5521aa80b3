"""What leaves a pod when the task's code fails. Every test plants a patient's name where an exception's text could carry it."""

from __future__ import annotations

import json
import re

import pytest
import torch

from coterie_api.fields import canonical, dump
from coterie_api.progress import DropReason
from coterie_worker.training import loop
from coterie_worker.training.failure import Guard, TaskFailure
from coterie_worker.training.opening import load_task
from coterie_worker.training.task import Task

NAME = "Smith, John"

FAULTS = """
    import sys
    import numpy as np
    import torch

    class CorruptRecord(Exception):
        pass

    def parse():
        float("Smith, John")

    def chained():
        try:
            parse()
        except ValueError as error:
            raise CorruptRecord(f"bad record: {error}") from error

    def while_handling():
        try:
            parse()
        except ValueError:
            raise KeyError("Smith, John")

    def grouped():
        raise ExceptionGroup("Smith, John", [ValueError("Smith, John")])

    def noted():
        error = ValueError("x")
        error.add_note("Smith, John")
        raise error

    def named_after_data():
        raise type("Smith, John", (ValueError,), {})("x")

    def named_like_an_identifier():
        raise type("SmithJohn", (ValueError,), {})("x")

    def pretending_to_be_elsewhere():
        raise type("SmithJohn", (ValueError,), {"__module__": "builtins"})("x")

    def unspeakable():
        class Odd(Exception):
            def __str__(self):
                raise RuntimeError("Smith, John")
        raise Odd("Smith, John")

    def in_a_string():
        exec(compile("raise ValueError('Smith, John')", "Smith, John.py", "exec"))

    def in_a_string_named_after_a_file():
        exec(compile("\\n" * 8 + "raise ValueError('Smith, John')", __file__, "exec"))

    def in_a_library():
        np.array(["Smith, John"]).astype(float)

    def in_torch():
        torch.zeros(2).reshape(3)

    def leaving():
        sys.exit("Smith, John")

    def recursing():
        recursing()
"""


@pytest.fixture
def fail(task_module, capfd):
    """Calls one of the functions above under a guard; the failure and what stderr got."""
    module = task_module(FAULTS)
    import importlib

    code = importlib.import_module(module)

    def call(name: str) -> tuple[TaskFailure, str]:
        with pytest.raises(TaskFailure) as caught:
            Guard.of(f"{module}:Task", "tenant-a/visits")(getattr(code, name))
        return caught.value, capfd.readouterr().err

    call.module = module
    return call


@pytest.mark.parametrize(
    ("name", "error_class"),
    [
        ("parse", "ValueError"),
        ("chained", "CorruptRecord"),
        ("while_handling", "KeyError"),
        ("grouped", "ExceptionGroup"),
        ("noted", "ValueError"),
        ("named_after_data", "ValueError"),
        ("named_like_an_identifier", "ValueError"),
        ("pretending_to_be_elsewhere", "ValueError"),
        ("unspeakable", "Exception"),
        ("in_a_string", "ValueError"),
        ("in_a_string_named_after_a_file", "ValueError"),
        ("in_a_library", "ValueError"),
        ("in_torch", "RuntimeError"),
        ("leaving", "SystemExit"),
        ("recursing", "RecursionError"),
    ],
)
def test_nothing_that_an_exception_says_leaves_the_pod(fail, name, error_class):
    failure, log = fail(name)
    told = json.dumps(dump(failure.drop)) + str(failure) + repr(failure) + canonical(failure.termination).decode()

    assert failure.drop.reason is DropReason.TASK_RAISED
    assert failure.drop.error_class == error_class
    assert failure.drop.client == "tenant-a/visits"
    assert re.fullmatch(rf"{fail.module}\.py:\d+", failure.drop.where)
    assert "Smith" not in told
    assert "John" not in told
    assert f"incident {failure.drop.incident}" in log
    assert "Traceback" in log


def test_no_exception_of_the_tasks_is_chained_to_the_failure(fail):
    failure, _ = fail("chained")

    assert failure.__cause__ is None
    assert failure.__context__ is None


def test_the_tenants_own_log_has_the_whole_text(fail):
    _, log = fail("chained")

    assert "bad record: could not convert string to float: 'Smith, John'" in log


@pytest.mark.parametrize(
    ("name", "line"),
    [("parse", 'float("Smith, John")'), ("chained", "raise CorruptRecord"), ("in_a_library", "np.array"), ("in_a_string", "exec(")],
)
def test_the_place_is_the_deepest_line_of_the_tasks_own_code(fail, name, line):
    failure, _ = fail(name)
    _, _, number = failure.drop.where.partition(":")

    assert line in FAULTS.splitlines()[int(number) - 1]


def test_each_failure_has_an_incident_of_its_own(fail):
    assert fail("parse")[0].drop.incident != fail("parse")[0].drop.incident


def test_a_termination_message_fits_into_what_kubernetes_keeps(fail):
    assert len(canonical(fail("chained")[0].termination)) < 4096


def test_a_helper_module_in_a_package_is_the_tasks_own_code(tmp_path, monkeypatch):
    package = tmp_path / "my_task_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "inner" / "__init__.py").touch()
    (package / "inner" / "reading.py").write_text("def read():\n    raise ValueError('Smith, John')\n")
    (package / "task.py").write_text("from my_task_package.inner.reading import read\n")
    monkeypatch.syspath_prepend(tmp_path)
    from my_task_package.task import read

    with pytest.raises(TaskFailure) as caught:
        Guard.of("my_task_package.task:Task")(read)
    assert caught.value.drop.where == "inner/reading.py:2"


def test_code_that_is_not_the_tasks_is_never_named(task_module):
    guard = Guard.of(f"{task_module()}:Line")

    with pytest.raises(TaskFailure) as caught:
        guard(lambda: {}[1])
    assert caught.value.drop.where == ""


def test_a_task_that_lies_among_installed_packages_does_not_claim_its_neighbors(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "neighbor_of_task.py").write_text("def fail():\n    raise ValueError\n")
    (folder / "lonely_task.py").write_text("from neighbor_of_task import fail\ndef call():\n    fail()\n")
    monkeypatch.syspath_prepend(folder)
    from lonely_task import call

    with pytest.raises(TaskFailure) as caught:
        Guard.of("lonely_task:Task")(call)
    assert caught.value.drop.where == "lonely_task.py:3"


def test_packages_below_the_tasks_folder_are_not_the_tasks_code(task_module, tmp_path, monkeypatch):
    packages = tmp_path / "code" / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "library_below_task.py").write_text("def fail():\n    raise ValueError\n")
    monkeypatch.syspath_prepend(packages)
    module = task_module("from library_below_task import fail\ndef call():\n    fail()\n")
    import importlib

    with pytest.raises(TaskFailure) as caught:
        Guard.of(f"{module}:Task")(importlib.import_module(module).call)
    assert caught.value.drop.where == f"{module}.py:3"


@pytest.mark.parametrize(
    ("source", "entrypoint", "error_class", "where"),
    [
        ("import nothing_of_this_name", "{}:Task", "ModuleNotFoundError", "{}.py:1"),
        ("\nraise ValueError('Smith, John')", "{}:Task", "ValueError", "{}.py:2"),
        ("x = 1\ndef f(:\n", "{}:Task", "SyntaxError", "{}.py:2"),
        ("x = 1", "{}:Absent", "AttributeError", ""),
        ("x = 1", "{}:x", "TypeError", ""),
        ("class Plain: pass", "{}:Plain", "TypeError", ""),
        (
            "from coterie_worker.training import Task\nclass T(Task):\n    def __init__(self, given):\n        given['Smith, John']",
            "{}:T",
            "KeyError",
            "{}.py:4",
        ),
        ("x = 1", "absent_{}:Task", "ModuleNotFoundError", ""),
        ("x = 1", "{}", "ValueError", ""),
        ("x = 1", "{}:", "ValueError", ""),
        ("x = 1", ":Task", "ValueError", ""),
    ],
)
def test_a_task_that_cannot_be_imported_is_told_apart_from_one_that_raises(task_module, source, entrypoint, error_class, where):
    module = task_module(source)
    with pytest.raises(TaskFailure) as caught:
        load_task(entrypoint.format(module), {}, "tenant-a/visits")
    drop = caught.value.drop

    assert (drop.reason, drop.error_class, drop.where) == (DropReason.TASK_IMPORT_FAILED, error_class, where.format(module))
    assert caught.value.termination.reason == "TaskImportFailed"
    assert caught.value.exit_code == 64
    assert "Smith" not in str(caught.value)


def test_an_interrupt_is_no_failure_of_the_task(task_module):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Guard.of(f"{task_module()}:Line")(interrupt)


DEFAULTS = {
    "loss": (lambda task, model: task.loss(model, (torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))), "task.loss"),
    "metrics": (lambda task, model: task.metrics(model, (torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))), "task.metrics"),
    "collate": (lambda task, model: task.collate([torch.zeros(2), torch.zeros(3)]), "task.collate"),
    "load_data": (lambda task, model: task.load_data("/", "train"), "task.load_data"),
}


@pytest.mark.parametrize(("fault", "part"), DEFAULTS.values(), ids=DEFAULTS.keys())
def test_a_failure_in_what_tasks_inherit_names_the_part(task_module, fault, part):
    guard = Guard.of(f"{task_module()}:Line")

    with pytest.raises(TaskFailure) as caught:
        guard(lambda: fault(Task({}), torch.nn.Linear(2, 3)))
    where, _, line = caught.value.drop.where.partition(":")
    assert where == f"coterie_worker.training.{part}"
    assert int(line) > 0


def test_code_made_at_run_time_that_claims_to_be_coteries_tells_nothing(task_module):
    guard = Guard.of(f"{task_module()}:Line")
    source = "def SmithJohn():\n    raise ValueError\n"
    names: dict = {}
    exec(compile(source, loop.__file__, "exec"), names)

    with pytest.raises(TaskFailure) as caught:
        guard(names["SmithJohn"])
    assert caught.value.drop.where == ""
