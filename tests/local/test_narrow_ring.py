"""The digits example with sums of 16 bits: it learns as well, says how its updates are told, and a tenant may decline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from coterie_api.history import decode
from coterie_operator.local.run import run
from coterie_operator.local.screen import SilentScreen

pytestmark = pytest.mark.local
DIGITS = Path(__file__).parents[2] / "examples" / "digits"
CLIP, MEMBERS = 2.0, 4


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of ten rounds, to which one of five hospitals doesn't want to send anything coarse."""
    folder = tmp_path_factory.mktemp("narrow")
    shutil.copytree(DIGITS, folder / "digits", ignore=shutil.ignore_patterns("volumes", "__pycache__"))
    documents = list(yaml.safe_load_all((folder / "digits/digits.yaml").read_text()))
    for document in documents:
        change(document)
    (folder / "digits/digits.yaml").write_text(yaml.safe_dump_all(documents))
    result = run(folder / "digits", output=folder / "out", data={}, overwrite=False, metrics_port=0, screen=SilentScreen())
    assert result.has_succeeded, result.message
    return folder / "out"


def change(document: dict[str, Any]) -> None:
    spec = document.get("spec", {})
    if document["kind"] == "FederatedJob":
        spec |= {"rounds": 10, "strategy": {"weighting": "Uniform"}, "secureAggregation": {"ringBits": 16, "clip": CLIP}}
        spec["participants"].pop("minClients")
    if document["kind"] == "FederatedDataset" and document["metadata"]["namespace"] == "hospital-e":
        spec["requirements"] = {"ringBits": 32}


def status(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "result.json").read_text())["job"]["status"]
    return found


def test_ten_rounds_on_the_narrow_ring_learn_the_digits(done: Path) -> None:
    lines = [decode(line) for line in (done / "history.jsonl").read_bytes().splitlines(keepends=True)]

    assert [line.survivors for line in lines] == [MEMBERS] * 10
    assert max(line.accuracy or 0 for line in lines) > 0.93
    assert sum(line.clamped for line in lines) == 0


def test_the_status_names_the_ring_the_scale_and_the_clip(done: Path) -> None:
    secure = status(done)["secureAggregation"]
    units = -(-(2**15 - 1) // MEMBERS // CLIP)

    assert (secure["ringBits"], secure["scale"]) == (16, units)
    assert secure["clip"] == pytest.approx(CLIP, rel=1e-3)
    assert secure["clip"] <= CLIP


def test_guarantees_and_report_say_how_updates_are_told(done: Path) -> None:
    sentences = status(done)["privacy"]["guarantees"]
    page = (done / "report.html").read_text()

    assert any("for a ring of 16 bits" in sentence for sentence in sentences)
    assert any("together with up to 1 of the 4 tenants" in sentence for sentence in sentences)
    assert "ring bits 16" in page
    assert "for a ring of 16 bits" in page


def test_a_tenant_that_wants_the_wide_ring_is_not_asked(done: Path) -> None:
    [declined] = [tenant for tenant in status(done)["tenants"] if tenant["state"] == "Skipped"]

    assert (declined["namespace"], declined["reason"]) == ("hospital-e", "RequirementNotMet")
    assert "a ring of 32 bits" in declined["message"]
