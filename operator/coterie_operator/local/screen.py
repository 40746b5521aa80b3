"""What a person sees during `coterie run`: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from rich.console import Console
from rich.live import Live

from coterie_operator.local.progress import Snapshot

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coterie_api.history import RoundLine
    from coterie_operator.cluster import Object

ROWS = 12  # rounds shown at one time
HEADS = ("Round", "Survivors", "Accuracy", "Loss", "Bytes", "Seconds", "Time left")


class Screen(Protocol):
    """Shows moments of a run."""

    def show(self, now: Snapshot) -> None:
        """Show a moment."""
        ...

    def say(self, text: str) -> None:
        """Show a line that stays."""
        ...

    def close(self) -> None:
        """Leave the terminal as it should be found."""
        ...


def open_screen(out: TextIO | None = None) -> Screen:
    """Return a live table if `out` (standard output) is a terminal that can move its cursor, and plain lines if not."""
    out = out or sys.stdout
    if out.isatty():
        from rich.console import Console

        console = Console(file=out)
        if not console.is_dumb_terminal:
            return LiveScreen(console)
    return PlainScreen(out)


@dataclass(slots=True)
class SilentScreen:
    """Shows nothing: for callers from Python."""

    def show(self, now: Snapshot) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass(slots=True)
class PlainScreen:
    """One line for each round and for each new state."""

    out: TextIO
    _round: int = 0
    _state: tuple[str, str] = ("", "")
    _told: set[tuple[str, ...]] = field(default_factory=set)

    def show(self, now: Snapshot) -> None:
        if now.status and (now.state, now.message) != self._state and now.ended() is None:
            self._state = (now.state, now.message)
            self.say(f"{now.name}: {now.state}" + (f": {now.message}" if now.message else ""))
        for tenant in now.tenants:
            # Told once for each reason: the message may differ each time, as incidents do.
            news = (_name(tenant), str(tenant.get("state")), str(tenant.get("reason")))
            if tenant.get("reason") and news not in self._told:
                self._told.add(news)
                self.say(_tenant(tenant))
        # A round is told once its evaluation is there, or the next round is: the evaluator is a little behind.
        told = now.lines if now.ended() else now.lines[:-1] + tuple(line for line in now.lines[-1:] if line.accuracy is not None)
        for line in told:
            if line.round > self._round:
                self._round = line.round
                self.say(_line(line, now))

    def say(self, text: str) -> None:
        self.out.write(text + "\n")
        self.out.flush()

    def close(self) -> None:
        self.out.flush()


@dataclass(slots=True)
class LiveScreen:
    """A table that is drawn again in place."""

    console: Console
    _live: Live | None = None
    _last: list[Snapshot] = field(default_factory=list)

    def show(self, now: Snapshot) -> None:
        from rich.live import Live

        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        self._live.update(render(now), refresh=True)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def render(now: Snapshot) -> RenderableType:
    """Return the table of the newest rounds under a line on the job's state."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    style = {"Succeeded": "bold green", "Failed": "bold red"}.get(now.state, "bold cyan")
    head = Text.assemble((now.name, "bold"), "  ", (now.state, style), f"  {duration(now.seconds)}  ", (now.message, "dim"))
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for name in HEADS:
        table.add_column(name, justify="right")
    for line in now.lines[-ROWS:]:
        table.add_row(*cells(line, now))
    bar = Table.grid()  # a bar alone does not end its line
    bar.add_row(ProgressBar(total=max(1, now.rounds), completed=now.rounds_done, width=64))
    return Group(head, bar, table) if now.lines else Group(head, bar, _tenants(now))


def _tenants(now: Snapshot) -> RenderableType:
    from rich.text import Text

    shown = now.tenants[:ROWS]
    well = [f"{_name(tenant)} {tenant.get('state', '')}" for tenant in shown if not tenant.get("reason")]
    return Text("\n".join(["   ".join(well), *(_tenant(tenant) for tenant in shown if tenant.get("reason"))]).strip(), style="dim")


def _tenant(tenant: Object) -> str:
    """Return a tenant's state with its reason."""
    message = str(tenant.get("message") or "").removeprefix(f"{_name(tenant)}: ")
    return ": ".join(part for part in (_name(tenant), str(tenant.get("state", "")), str(tenant["reason"]), message) if part)


def _name(tenant: Object) -> str:
    return f"{tenant['namespace']}/{tenant['name']}"


def cells(line: RoundLine, now: Snapshot) -> tuple[str, ...]:
    """Return the cells of one round's row."""
    left = now.seconds_left() if line.round == now.rounds_done else None
    return (
        f"{line.round}/{now.rounds}",
        f"{line.survivors}/{line.cohort}",
        "" if line.accuracy is None else f"{line.accuracy:.4f}",
        "" if line.loss is None else f"{line.loss:.4f}",
        amount(line.bytes_sent + line.bytes_received),
        f"{line.seconds:.2f}",
        "" if left is None else duration(left),
    )


def _line(line: RoundLine, now: Snapshot) -> str:
    parts = [f"{name.lower()} {cell}" for name, cell in zip(HEADS, cells(line, now), strict=True) if cell]
    drops = ", ".join(f"{reason} {count}" for reason, count in sorted(line.drops.items()))
    return "  ".join(parts) + (f"  drops: {drops}" if drops else "")


def amount(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:g} {unit}" if count == round(count) else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time for people: 42s, 3:07, 1:02:03."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
