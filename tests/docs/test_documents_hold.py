"""Every block of every document does what a reader would expect of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.docs.blocks import REPOSITORY, blocks, documents, kind_of
from tests.docs.checks import Desk

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


@pytest.mark.parametrize("wanted", ["README.md", "docs/README.md", "docs/data-scientist.md", "docs/data-owner.md", "docs/administrator.md"])
def test_each_reader_has_a_page(wanted: str) -> None:
    assert wanted in NAMES
