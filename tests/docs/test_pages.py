"""Links lead somewhere, and words are the house's."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from tests.docs.blocks import REPOSITORY, documents
from tests.docs.pages import anchors, links, prose

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [*documents(), *(REPOSITORY / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"))]
NAMES = [str(path.relative_to(REPOSITORY)) for path in PAGES]
BRITISH = re.compile(
    r"\b((organ|optim|initial|serial|normal|real|recogn|summar|quant|synchron|author|custom|general|minim|maxim)is(e|ed|es|ing|ation)"
    r"|behaviours?|colou?red|colours?|favou?rites?|neighbours?|honours?|licences?|centres?|(model|label|cancel)l(ed|ing))\b"
)
# Words on the left have two readings or are another house's name for the one on the right.
WRONG = {r"\bparticipants? process": "client", r"\bparty\b|\bparties\b": "tenant", r"\bserver pod": "aggregator", r"\bsilos?\b": "tenant"}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings_that_are_there(name: str) -> None:
    page = REPOSITORY / name
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page

        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path), link


@pytest.mark.parametrize("name", NAMES)
def test_no_link_leads_out_of_the_repository(name: str) -> None:
    page = REPOSITORY / name
    local = [link.partition("#")[0] for link in links(page) if not re.match(r"[a-z]+:", link)]

    assert [link for link in local if not (page.parent / link).resolve().is_relative_to(REPOSITORY)] == []


@pytest.mark.parametrize("name", NAMES)
def test_spelling_is_american(name: str) -> None:
    assert [match[0] for match in BRITISH.finditer(prose(REPOSITORY / name).lower())] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("docs/data") or name in {"README.md", "docs/administrator.md"}])
def test_readers_pages_use_one_word_for_one_thing(name: str) -> None:
    text = prose(REPOSITORY / name).lower()

    assert [(pattern, word) for pattern, word in WRONG.items() if re.search(pattern, text)] == []


# Where the maps of the code look for a file that they name by its last parts.
ROOTS = [REPOSITORY / name for name in ("", "api/coterie_api", "operator/coterie_operator", "worker/coterie_worker")]
MAPS = ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/development.md"]


def named_files(text: str) -> list[str]:
    """Return what a page names in code ticks as a file or folder of this repository."""
    return re.findall(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.(?:py|md|toml|yaml)))`", text)


@pytest.mark.parametrize("name", MAPS)
def test_maps_of_the_code_name_files_that_are_there(name: str) -> None:
    named = named_files(prose(REPOSITORY / name))

    assert named
    assert [each for each in named if not any((root / each).exists() for root in ROOTS)] == []


@pytest.mark.parametrize("plane", ["Inside the control plane", "Inside the data plane"])
def test_every_room_of_the_import_contracts_is_on_the_map(plane: str) -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["name"] == plane)
    rooms = {room.strip() for layer in layers for room in layer.split("|")} - {"__main__"}
    picture = (REPOSITORY / "ARCHITECTURE.md").read_text().partition("```mermaid")[2].partition("```")[0]

    assert sorted(rooms - set(re.findall(r"\w+", picture))) == []


def test_every_page_is_in_the_index() -> None:
    index = set(links(REPOSITORY / "docs" / "README.md"))
    pages = {path.name for path in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}

    assert sorted(pages - index) == []


def test_the_checks_see_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading, here\n\n[x](nowhere.md#a) and `colour`\n\n```sh\n[y](z)\n```\n")

    assert links(page) == ["nowhere.md#a"]
    assert anchors(page) == {"a-heading-here"}
    assert BRITISH.search(prose(page)) is not None


def test_pictures_are_small() -> None:
    pictures = list((REPOSITORY / "docs" / "pictures").iterdir())

    assert [path.name for path in pictures if path.stat().st_size > 300_000] == []
