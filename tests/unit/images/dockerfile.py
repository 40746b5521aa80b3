"""The instructions of a Dockerfile, stage by stage: as much of its grammar as ours uses."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
TEXT: Final = (ROOT / "Dockerfile").read_text()


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it."""

    name: str
    base: str
    steps: tuple[tuple[str, str], ...] = ()

    def all(self, instruction: str) -> list[str]:
        return [rest for found, rest in self.steps if found == instruction]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """Arguments before the first FROM, and the stages by name, in order."""

    arguments: dict[str, str]
    stages: dict[str, Stage] = field(default_factory=dict)

    def line(self, name: str) -> list[Stage]:
        """Return a stage and those below it, the lowest first."""
        stage = self.stages[name]
        return [*(self.line(stage.base) if stage.base in self.stages else []), stage]

    def last(self, name: str, instruction: str) -> str | None:
        """Return the value that holds in the image of a stage for an instruction whose last one wins."""
        found = [value for stage in self.line(name) for value in stage.all(instruction)]
        return found[-1] if found else None

    def pairs(self, name: str, instruction: str) -> dict[str, str]:
        """Return the keys and values of all ENV or LABEL of a stage and those below it."""
        words = [word for stage in self.line(name) for value in stage.all(instruction) for word in shlex.split(value)]
        return dict(word.split("=", 1) for word in words)


def parse(text: str) -> Dockerfile:
    """Return the stages of a Dockerfile."""
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    name = ""
    for instruction, rest in _instructions(text):
        if instruction == "FROM":
            base, _, name = (part.strip() for part in rest.partition(" AS "))
            stages[name] = Stage(name, base)
        elif not stages:
            key, _, value = rest.partition("=")
            arguments[key] = value
        else:
            stages[name] = Stage(name, stages[name].base, (*stages[name].steps, (instruction, rest)))
    return Dockerfile(arguments, stages)


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]
