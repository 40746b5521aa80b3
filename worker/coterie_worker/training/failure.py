"""What leaves a pod when the task's code fails: a class, a reason, a line, an incident; never the exception's text.

An exception's text can hold data (`could not convert string to float: 'Smith, John'`), and so can whatever is chained to
it. The traceback goes to the pod's own log, under an incident id that the author can ask the tenant about.
"""

from __future__ import annotations

import re
import secrets
import sys
import traceback
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import torch

from coterie_api.names import EXIT_TERMINAL
from coterie_api.progress import SENTENCES, Drop, DropReason, Termination
from coterie_worker.layout import LayoutError, Mismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_HERE: Final = Path(__file__).parent
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {  # of what tasks inherit, or have done for them
    "batches": ("batches_of", "at"),
    "check": ("differentiate",),
    "loop": ("train", "forward", "backward", "step"),
    "opening": ("_load", "_module"),
    "task": ("loss", "metrics", "collate", "train_round", "load_data"),
    "evaluate": ("measure",),
}
_FOREIGN: Final = frozenset({"site-packages", "dist-packages"})


class TaskFailure(Exception):
    """The task can't do what it was asked to; `drop` says why without any data.

    Formal guarantees:
        Neither the message, nor `drop`, nor anything chained to this exception holds text that the task's code, or a
        library that it called, made at run time.
    """

    exit_code = EXIT_TERMINAL

    def __init__(self, drop: Drop, detail: str = "") -> None:
        self.drop = drop
        self.detail = detail  # names of tensors, shapes and fields of the job's own spec
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """One sentence, and where to look."""
        parts = [SENTENCES[self.drop.reason]]
        if self.detail:
            parts.append(f": {self.detail}")
        if self.drop.error_class:
            parts.append(f" ({self.drop.error_class}{' at ' if self.drop.where else ''}{self.drop.where})")
        if self.drop.incident:
            parts.append(f"; incident {self.drop.incident} in the pod's log")
        return "".join(parts)

    @property
    def termination(self) -> Termination:
        """The pod's last word, if it ends of this."""
        return Termination(self.drop.reason.value, self.message, drop=self.drop)


class EmptyDataError(Exception):
    """The task's data has no examples."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Runs the task's code and turns whatever it raises into a TaskFailure.

    Attributes:
        client: `namespace/dataset`, or empty where there is none.
        home: the folder of the task's own code, or its file if it lies among installed packages.
    """

    client: str
    home: Path | None

    @classmethod
    def of(cls, entrypoint: str, client: str = "") -> Guard:
        """The guard of a task, found without running its code."""
        return cls(client, _home(entrypoint.partition(":")[0]))

    def __call__(self, call: Callable[[], T], reason: DropReason = DropReason.TASK_RAISED) -> T:
        """What `call` returns.

        Raises:
            TaskFailure: `call` raised, or asked the process to exit; `reason` unless memory or data ran out.
        """
        try:
            return call()
        except TaskFailure:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the task's code may raise anything
            drop = self._report(error, reason)
        # Raised outside the handler, so that no exception of the task's is chained to this one.
        raise TaskFailure(drop)

    def refuse(self, reason: DropReason, detail: str = "") -> TaskFailure:
        """The failure for something that the worker itself found; `detail` holds no data."""
        return TaskFailure(Drop(self.client, reason), detail)

    def misfit(self, error: LayoutError) -> TaskFailure:
        """WRONG_SHAPE for a model that is not the layout's: names the layout's tensor; what was found goes to the pod's log."""
        incident = secrets.token_hex(6)
        sys.stderr.write(f"incident {incident}: {DropReason.WRONG_SHAPE}: {error}\n")
        tensor = error.tensor if isinstance(error, Mismatch) else ""
        return TaskFailure(Drop(self.client, DropReason.WRONG_SHAPE, incident=incident), f"tensor {tensor!r}" if tensor else "")

    def _report(self, error: BaseException, reason: DropReason) -> Drop:
        source = error.__cause__ if isinstance(error, EmptyDataError) and error.__cause__ else error
        drop = Drop(self.client, _reason(error, reason), _class_name(source), self._where(source), secrets.token_hex(6))
        sys.stderr.write(f"incident {drop.incident}: {drop.reason}\n")
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.flush()
        return drop

    def _where(self, error: BaseException) -> str:
        """`file:line` of the deepest frame in the task's own code; where none ran, of what it inherits."""
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        if isinstance(error, SyntaxError) and error.filename:
            frames.append((error.filename, error.lineno or 0))
        for filename, line in reversed(frames):
            name = self._own(Path(filename))
            if name:
                return f"{name}:{line}"
        return _default(error)

    def _own(self, file: Path) -> str:
        """The file's name below the task's home; empty for code that is not the task's, or not in a file at all."""
        try:
            path = file.resolve(strict=True)
        except (OSError, ValueError):
            return ""  # compiled from a string, under a name that may hold anything
        if self.home is None or path.suffix != ".py":
            return ""
        if path == self.home:
            return path.name
        if not path.is_relative_to(self.home) or _FOREIGN & set(path.relative_to(self.home).parts):
            return ""
        return path.relative_to(self.home).as_posix()


def _default(error: BaseException) -> str:
    """`coterie_worker.training.task.loss:64` for an exception out of the default loss: which part of the work it was.

    Code made at run time can claim any file and any name, so only names that are written down here are told.
    """
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        if file.parent == _HERE and file.suffix == ".py" and name in _PARTS.get(file.stem, ()):
            return f"{__package__}.{file.stem}.{name}:{line}"
    return ""


def _reason(error: BaseException, otherwise: DropReason) -> DropReason:
    # The CPU allocator raises a plain RuntimeError; its text is the allocator's own.
    allocator = type(error) is RuntimeError and "DefaultCPUAllocator: can't allocate memory" in str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or allocator:
        return DropReason.OUT_OF_MEMORY
    if isinstance(error, EmptyDataError):
        return DropReason.NO_DATA
    return otherwise


def _class_name(error: BaseException) -> str:
    """The name of the nearest class that stands under its own name in a module; classes made at run time have no such place."""
    for cls in type(error).__mro__:
        found: object = sys.modules.get(str(cls.__module__))
        for part in cls.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is cls and _IDENTIFIER.fullmatch(cls.__name__):
            return cls.__name__
    return "Exception"


def _home(module: str) -> Path | None:
    top = module.partition(".")[0]
    try:
        spec = find_spec(top) if top else None
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    file = Path(spec.origin or "").resolve()
    # A module by itself among installed packages: its folder holds other people's code.
    return file if _FOREIGN & set(file.parts) else file.parent
