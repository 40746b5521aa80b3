"""Every block of every document does what a reader would expect of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.docs.blocks import REPOSITORY, blocks, documents, kind_of
from tests.docs.checks import Desk
from tests.unit.coterie_operator.manifests.pod_security import violations

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [str(path.relative_to(REPOSITORY)) for path in documents()]


@pytest.mark.local
@pytest.mark.parametrize("name", NAMES)
def test_the_blocks_of_a_document_work_in_order(name: str, tmp_path: Path) -> None:
    desk = Desk.prepare(tmp_path)
    for block in blocks(REPOSITORY / name):
        desk.check(block)


@pytest.mark.parametrize("name", NAMES)
def test_no_block_escapes_classification(name: str) -> None:
    for block in blocks(REPOSITORY / name):
        kind_of(block)


@pytest.mark.parametrize("name", NAMES)
def test_every_fence_is_a_block(name: str) -> None:
    text = (REPOSITORY / name).read_text()

    assert text.count("```") == 2 * len(blocks(REPOSITORY / name))


def test_the_page_on_images_shows_the_examples_own_dockerfile() -> None:
    (shown,) = (block for block in blocks(REPOSITORY / "docs" / "images.md") if str(block.file) == "examples/digits/Dockerfile")
    kept = (REPOSITORY / "examples" / "digits" / "Dockerfile").read_text()

    assert _instructions(shown.text) == _instructions(kept)


def _instructions(dockerfile: str) -> list[str]:
    return [line for line in dockerfile.splitlines() if line and not line.startswith("#")]


def pods() -> dict[str, dict[str, Any]]:
    """Return every pod that a page shows, by place, also those that a shell hands to kubectl."""
    found: dict[str, dict[str, Any]] = {}
    for block in (block for document in documents() for block in blocks(document)):
        texts = [block.text] if block.info == "yaml" else re.findall(r"(?ms)<<END$\n(.*?)^END$", block.text)
        shown = [each for text in texts for each in yaml.safe_load_all(text)]
        found |= {f"{block.place} {each['metadata']['name']}": each for each in shown if each and each["kind"] == "Pod"}
    return found


PODS = pods()


@pytest.mark.parametrize("place", PODS)
def test_a_pod_that_a_page_shows_is_admitted_to_a_tenants_namespace(place: str) -> None:
    """As docs/tenants.md makes it ready: restricted, and with a quota that asks for requests and limits."""
    (container,) = PODS[place]["spec"]["containers"]

    assert violations(PODS[place]["spec"]) == []
    assert {f"{kind}.{name}" for kind, each in container["resources"].items() for name in each} >= {
        "requests.cpu",
        "limits.cpu",
        "requests.memory",
        "limits.memory",
    }


@pytest.mark.parametrize("place", PODS)
def test_a_pod_that_a_page_shows_runs_what_an_image_with_a_task_holds(place: str) -> None:
    (container,) = PODS[place]["spec"]["containers"]

    assert container["command"][0] in {"sleep", "python"}, "the worker's image has no `coterie`"


def test_pages_show_pods_that_fill_check_and_fetch() -> None:
    assert {each["metadata"]["name"] for each in PODS.values()} == {"fill", "check", "fetch"}


@pytest.mark.parametrize("wanted", ["README.md", "docs/README.md", "docs/data-scientist.md", "docs/data-owner.md", "docs/administrator.md"])
def test_each_reader_has_a_page(wanted: str) -> None:
    assert wanted in NAMES
