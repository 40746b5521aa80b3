"""`python -m coterie_worker`: what pods run. Each role imports what it needs and no more: the aggregator has no torch.

`check-data` is for the data's owner: an image with a task holds this command and no other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from coterie_api.names import ENV_ROOT, EXIT_OK, EXIT_RETRY
from coterie_api.podconfig import Role
from coterie_api.progress import Termination
from coterie_worker.config import Pod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coterie_worker.training import TaskFailure

log = logging.getLogger("coterie_worker")
CHECK_DATA: Final = "check-data"
ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - a pod has its own network; the process runner passes an address


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one role, or the owner's check, to its end, and leave with its exit code.

    Whatever goes wrong, the traceback goes to this pod's log and the termination message says no more than the class: an
    exception's text may hold data.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == [CHECK_DATA]:
        leave(check(words[1:]))
    options = parse(words)
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    pod = Pod(Path(options.root), options.host)
    try:
        code = run(Role(options.role), pod)
    except Exception as error:  # noqa: BLE001 - the last line of defense
        traceback.print_exc()
        pod.say_last(Termination(type(error).__name__, "the process failed; the traceback is in this pod's log"))
        code = EXIT_RETRY
    leave(code)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Role, root folder, address."""
    parser = argparse.ArgumentParser(prog="python -m coterie_worker", description="One process of a federated job.")
    parser.add_argument("role", choices=[role.value for role in Role])
    parser.add_argument("--root", default=os.environ.get(ENV_ROOT, "/"), help=f"folder that mount paths are below; {ENV_ROOT}")
    parser.add_argument("--host", default=ANY_ADDRESS, help="address to listen on")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(arguments)


def check(arguments: Sequence[str]) -> int:
    """Load the data in a folder with a task, put one batch through it, and print what is wrong, in full; return 1 if something is."""
    text = "Say what is wrong with the data in FOLDER. For the data's owner: what it prints may hold data."
    parser = argparse.ArgumentParser(prog=f"python -m coterie_worker {CHECK_DATA}", description=text)
    parser.add_argument("entrypoint", help="module:Class of the task")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parameters", type=json_object, default={}, help="the job's task.parameters, a JSON object")
    parser.add_argument("--split", default="train")
    options = parser.parse_args(arguments)
    from coterie_worker.training import check_data

    faults = check_data(options.entrypoint, options.parameters, options.folder, options.split)
    print("\n".join(faults) or f"{options.folder}: {options.split} loads, and a batch went through loss and metrics")
    return 1 if faults else 0


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError or ArgumentTypeError for anything else."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return found


def run(role: Role, pod: Pod) -> int:
    """Run a role; returns the exit code."""
    match role:
        case Role.AGGREGATOR:
            return aggregate(pod)
        case Role.CLIENT:
            return take_part(pod)
        case Role.INITIALIZE:
            return initialize(pod)
        case Role.EVALUATOR:
            return evaluate(pod)


def aggregate(pod: Pod) -> int:
    """The aggregator."""
    from coterie_worker.aggregator import shell

    ending = asyncio.run(shell.run(pod))
    pod.say_last(ending.word)
    log.info("%s: %s", ending.word.reason, ending.word.message)
    return ending.code


def take_part(pod: Pod) -> int:
    """A client. SIGTERM ends it at once: it holds nothing that isn't durable, and training can't be interrupted otherwise."""
    from coterie_worker.client import shell

    signal.signal(signal.SIGTERM, lambda *_: leave(EXIT_RETRY))
    with asyncio.Runner() as runner:
        ending = runner.run(shell.run(pod))
        pod.say_last(ending.word)
        leave(ending.code)  # inside: the runner would wait for a training that nobody needs any more


def initialize(pod: Pod) -> int:
    """The aggregator's init container."""
    from coterie_worker.training import TaskFailure, initialize

    try:
        initialize(pod.root, pod.job()[0])
    except TaskFailure as failure:
        return fail(pod, failure)
    return EXIT_OK


def evaluate(pod: Pod) -> int:
    """The aggregator's sidecar. Its failure is no end of the job, so it never leaves with the status that fails the batch job."""
    from coterie_worker.evaluator import run
    from coterie_worker.training import TaskFailure

    try:
        run(pod.root, pod.job()[0])
    except TaskFailure as failure:
        fail(pod, failure)
        return EXIT_RETRY
    return EXIT_OK


def fail(pod: Pod, failure: TaskFailure) -> int:
    """The task's fault: say which, without data."""
    log.error("%s", failure)
    pod.say_last(failure.termination)
    return int(failure.exit_code)


def leave(code: int) -> NoReturn:
    """End now: threads that still train and libraries that tear themselves down keep nobody waiting."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
