"""Commands in documents that aren't run here: which may be passed over, and whether the rest are spelled as their tools want."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Final

import click
from tests.docs.blocks import REPOSITORY

from coterie_operator.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Lines that change the reader's machine or need the network. Nothing else is passed over.
PASSED_OVER: Final = frozenset({"sudo apt-get install dataset-fashion-mnist"})
_TOOLS: Final = ("kubectl", "helm", "docker", "coterie")
# What these pages use of each tool: verb → flags. A short list on purpose: a new flag is looked up once, and added.
_NAMESPACE: Final = frozenset({"-n", "--namespace", "-A", "--all-namespaces"})
FLAGS: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("kubectl", "apply"): frozenset({"-f", "--server-side"}) | _NAMESPACE,
    ("kubectl", "auth"): frozenset({"--as"}) | _NAMESPACE,
    ("kubectl", "cp"): _NAMESPACE,
    ("kubectl", "create"): frozenset({"--from-file", "--dry-run", "-o"}) | _NAMESPACE,
    ("kubectl", "delete"): frozenset({"--ignore-not-found", "--timeout", "-f", "-l", "--all"}) | _NAMESPACE,
    ("kubectl", "describe"): _NAMESPACE,
    ("kubectl", "explain"): frozenset({"--recursive"}),
    ("kubectl", "get"): frozenset({"-o", "-w", "-l", "--watch", "--field-selector"}) | _NAMESPACE,
    ("kubectl", "label"): frozenset({"--overwrite"}),
    ("kubectl", "logs"): frozenset({"-l", "-c", "--tail", "--all-containers"}) | _NAMESPACE,
    ("kubectl", "patch"): frozenset({"--type", "-p", "--patch-file"}) | _NAMESPACE,
    ("kubectl", "rollout"): _NAMESPACE,
    ("kubectl", "version"): frozenset(),
    ("kubectl", "wait"): frozenset({"--for", "--timeout", "-l"}) | _NAMESPACE,
    ("helm", "install"): frozenset({"-f", "--values", "--set", "--create-namespace"}) | _NAMESPACE,
    ("helm", "upgrade"): frozenset({"-f", "--values", "--set", "--install", "--reuse-values", "--create-namespace"}) | _NAMESPACE,
    ("helm", "test"): frozenset({"--logs", "--timeout"}) | _NAMESPACE,
    ("helm", "uninstall"): _NAMESPACE,
    ("docker", "build"): frozenset({"-t", "--target", "--build-arg"}),
    ("docker", "push"): frozenset(),
    ("docker", "inspect"): frozenset({"--format"}),
}


class UnknownCommandError(Exception):
    """A command is none that can be checked, or is not spelled as its tool wants it."""


def remainder(text: str) -> str:
    """Return a block's text without the lines that are passed over, once `make` has agreed to its own.

    Raises:
        UnknownCommandError: a line installs something that is not on the list, or names a target that the Makefile has not.
    """
    kept = []
    for line in text.splitlines():
        command = line.strip()
        if re.match(r"(sudo|pip|pipx|apt|apt-get|git clone)\b", command):
            if command not in PASSED_OVER:
                raise UnknownCommandError(f"{command}: installs something that is not on the list {sorted(PASSED_OVER)}")
        elif re.match(r"make\b", command):
            _make(command)
        else:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _make(command: str) -> None:
    words = shlex.split(command, comments=True)
    done = subprocess.run([words[0], "-n", *words[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise UnknownCommandError(f"{command}: {done.stderr.strip()}")


def judge(text: str, folder: Path | None = None) -> None:
    """Check verbs and flags of the tools' commands in a block; with `folder`, also that what `coterie` reads is there.

    Raises:
        UnknownCommandError: a verb or flag is unknown, or a file is missing.
    """
    for words in calls(text):
        if words[0] == "coterie":
            _coterie(words[1:], folder)
        else:
            _tool(words)


def calls(text: str) -> Iterator[list[str]]:
    """Yield the words of each call of a tool, also those within `$(…)`."""
    joined = text.replace("\\\n", " ")
    for start in re.finditer(rf"(?m)(?:^|[;&|(]|\bdo\b|\bthen\b)\s*(?=(?:{'|'.join(_TOOLS)})\b)", joined):
        yield _words(joined[start.end() :])


def _words(text: str) -> list[str]:
    """Return the words of the one command that `text` begins with."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, "#"
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("();<>|&\n"):
            break
        words.append(word)
    return words


def _tool(words: list[str]) -> None:
    verb = next((word for word in words[1:] if not word.startswith("-")), "")
    known = FLAGS.get((words[0], verb))
    if known is None:
        raise UnknownCommandError(f"{' '.join(words)}: {words[0]} {verb} is not used by these pages")
    flags = {word.partition("=")[0] for word in words[1:] if word.startswith("-") and word != "-"}
    if flags - known:
        raise UnknownCommandError(f"{' '.join(words)}: {', '.join(sorted(flags - known))} is not a known flag of {words[0]} {verb}")


def _coterie(words: list[str], folder: Path | None) -> None:
    """Parse as `coterie` itself does, without running anything."""
    command = main.commands.get(words[0]) if words else None
    if command is None:
        raise UnknownCommandError(f"coterie {' '.join(words)}: no such command")
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"-h", "--help"}
    flags = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
    if flags - known:
        raise UnknownCommandError(f"coterie {' '.join(words)}: {', '.join(sorted(flags - known))} is not an option")
    if folder is not None:
        _parses(command, [str(folder / word) if (folder / word).exists() else word for word in words[1:]])


def _parses(command: click.Command, words: list[str]) -> None:
    try:
        command.make_context("coterie", words)
    except click.ClickException as error:
        raise UnknownCommandError(f"coterie {command.name} {' '.join(words)}: {error.format_message()}") from None
