"""Every entry of docs/troubleshooting.md happens: in the test that it names, in the words that it shows."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

import pytest
from tests.docs.blocks import REPOSITORY

from coterie_api.progress import SENTENCES as DROPS
from coterie_api.progress import DropReason
from coterie_api.v1alpha1.conditions import SENTENCES, Reason
from coterie_operator.core.verdict import TenantReason
from coterie_worker.client.state import UnreadableRecord
from coterie_worker.durable import FolderInUse

PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
LAST_WORDS = {each.__name__ for each in (FolderInUse, UnreadableRecord)}  # of pods, beside reasons of the catalog
REASONS = {*Reason, *DropReason, *TenantReason, *LAST_WORDS}
TOOLS = ("kubectl ", "coterie ")
HELPLESS = {Reason.PENDING, Reason.STARTING, Reason.ASSEMBLING}


@dataclass(frozen=True)
class Entry:
    title: str
    shown: str
    test: str

    @property
    def reason(self) -> str:
        return "" if self.shown.startswith(TOOLS) else self.shown.partition(":")[0]

    @property
    def words(self) -> list[str]:
        """What stands between what differs."""
        said = "" if self.shown.startswith(TOOLS) else self.shown.partition(":")[2]
        return [part.strip() for part in said.split("…") if part.strip()]


def entries() -> list[Entry]:
    found = []
    for title, body in re.findall(r"(?ms)^### (.+?)\n(.+?)(?=^##|\Z)", PAGE):
        (shown,) = re.findall(r"(?ms)^```text\n(.+?)\n```$", body)
        (test,) = re.findall(r"(?m)^Test: `([^`]+)`$", body)
        found.append(Entry(title, shown, test))
    return found


ENTRIES = entries()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.title)
def test_the_test_of_an_entry_is_there(entry: Entry) -> None:
    file, *path = entry.test.split("::")
    scope: list[ast.stmt] = ast.parse((REPOSITORY / file).read_text()).body
    for name in path:
        (node,) = (each for each in scope if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and each.name == name)
        scope = node.body


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.title)
def test_an_entry_shows_a_reason_that_there_is_or_what_somebody_types(entry: Entry) -> None:
    assert entry.reason in REASONS or entry.shown.startswith(TOOLS)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.title)
def test_the_words_of_an_entry_are_those_of_its_test_or_of_the_catalog(entry: Entry) -> None:
    source = (REPOSITORY / entry.test.split("::")[0]).read_text()
    catalog = "\n".join([*SENTENCES.values(), *DROPS.values()])
    for words in entry.words:
        assert words in source or words in catalog, words


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.title)
def test_a_reason_of_an_entry_is_in_its_test_too(entry: Entry) -> None:
    """By its word or by its constant, or by its sentence."""
    source = (REPOSITORY / entry.test.split("::")[0]).read_text()
    constants = [f"{type(each).__name__}.{each.name}" for each in (*Reason, *DropReason) if each.value == entry.reason]
    sentences = [DROPS[each] for each in DropReason if each.value == entry.reason]

    assert not entry.reason or any(word in source for word in (entry.reason, *constants, *sentences))


def test_there_are_entries_for_whatever_keeps_a_pod_from_starting() -> None:
    keeps = {Reason.IMAGE_PULL_BACK_OFF, Reason.CONTAINER_NOT_STARTED, Reason.UNSCHEDULABLE, Reason.CLAIM_NOT_FOUND}
    keeps |= {Reason.SECRET_NOT_FOUND, Reason.VOLUME_NOT_READY, Reason.POD_REFUSED, Reason.QUOTA_EXCEEDED, Reason.OUT_OF_MEMORY}

    assert keeps <= {entry.reason for entry in ENTRIES}


def test_an_entry_is_no_comfort_for_what_needs_none() -> None:
    assert not HELPLESS & {entry.reason for entry in ENTRIES}
