"""Tables of the documentation say what the code says, so that neither can change alone."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields, replace
from enum import Enum
from typing import Any

import pytest
import yaml
from tests.cluster.binaries import KUBERNETES_VERSION
from tests.docs.blocks import REPOSITORY
from tests.docs.checks import WHOLE
from tests.docs.pages import table

from coterie_api.fields import parse
from coterie_api.history import RoundLine
from coterie_api.podconfig import Aggregation
from coterie_api.progress import SENTENCES as DROP_SENTENCES
from coterie_api.shape import Kind, entries
from coterie_api.v1alpha1.conditions import SENTENCES
from coterie_api.v1alpha1.quorum import quorum
from coterie_api.v1alpha1.types import (
    FederatedJob,
    Optimizer,
    OptimizerName,
    Protocol,
    SecureAggregation,
    Strategy,
    StrategyName,
    Training,
    Weighting,
)
from coterie_operator.core import guarantees
from coterie_operator.core.verdict import TenantReason
from coterie_operator.settings import Settings, from_environment
from coterie_worker.training import Task

SCIENTIST, OWNER, ADMINISTRATOR = "docs/data-scientist.md", "docs/data-owner.md", "docs/administrator.md"
PEAKS = {"SGD": "0.1", "AdamW": "0.001"}


def shown(value: Any) -> str:
    """A default as the pages write it."""
    if value is None:
        return "unset"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def leaves(cls: type, prefix: str = "") -> dict[str, str]:
    """Every field below a type, by its dotted name, with its default."""
    found: dict[str, str] = {}
    for entry in entries(cls):
        if entry.node.kind is Kind.OBJECT:
            assert entry.node.cls is not None
            found |= leaves(entry.node.cls, f"{prefix}{entry.key}.")
        else:
            found[prefix + entry.key] = shown(entry.default)
    return found


def test_the_page_lists_every_reason_of_a_condition_with_its_sentence() -> None:
    rows = {row[0]: row[1] for row in table(ADMINISTRATOR, "reason | the sentence | what to do")}

    assert {reason.value: sentence for reason, sentence in SENTENCES.items()} == rows


def test_the_page_lists_every_reason_of_a_drop_with_its_sentence() -> None:
    rows = {row[0]: row[1] for row in table(SCIENTIST, "reason | the sentence | what to do")}

    assert {reason.value: sentence for reason, sentence in DROP_SENTENCES.items()} == rows


def test_the_page_lists_every_reason_that_only_tenants_have() -> None:
    assert {reason.value for reason in TenantReason} == {row[0] for row in table(ADMINISTRATOR, "reason | what to do")}


@pytest.mark.parametrize("page", [SCIENTIST, ADMINISTRATOR])
def test_every_reason_has_something_to_do(page: str) -> None:
    assert [row for row in table(page, "reason | the sentence | what to do") if len(row) != 3 or len(row[2]) < 4] == []


def test_the_page_lists_every_method_of_a_task() -> None:
    methods = {
        f"{name}({', '.join(list(inspect.signature(method).parameters)[1:])})"
        for name, method in inspect.getmembers(Task, inspect.isfunction)
        if not name.startswith("_")
    }

    assert methods == {row[0] for row in table(SCIENTIST, "method")}


def test_the_page_lists_every_field_of_training_with_its_default() -> None:
    expected = leaves(Training) | {"localEpochs": shown(Training().epochs), "optimizer.learningRate": ", ".join(PEAKS.values())}

    assert expected == {row[0]: row[1] for row in table(SCIENTIST, "field | default | what it does")}


def test_the_learning_rates_of_the_page_are_those_of_the_optimizers() -> None:
    assert {name: shown(Optimizer(OptimizerName(name)).peak_learning_rate) for name in PEAKS} == PEAKS


def test_the_page_lists_every_field_of_the_strategy_with_its_default() -> None:
    steps = [shown(Strategy(name).step_size) for name in (StrategyName.FED_AVG, StrategyName.FED_ADAM)]
    expected = leaves(Strategy) | {"serverLearningRate": ", ".join(steps)}
    text = (REPOSITORY / SCIENTIST).read_text().partition("## The strategy")[2]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text.partition("\n## ")[0], re.MULTILINE)

    assert expected == {name: default.strip() for name, default in rows}


def test_the_numbers_of_a_quorum_are_those_of_the_protocol() -> None:
    rows = [tuple(map(int, row)) for row in table(SCIENTIST, "data sets | colluders")]
    found = [quorum(row[0], Protocol.SEC_AGG_PLUS) for row in rows]

    assert len(rows) > 4
    assert rows == [(each.members, each.colluders, each.min_survivors, each.tolerated_drops) for each in found]


def test_the_page_lists_every_field_of_the_history() -> None:
    assert [each.name for each in fields(RoundLine)] == [row[0] for row in table(SCIENTIST, "field | meaning")]


def test_the_page_lists_every_sentence_of_the_guarantees() -> None:
    numbers = {"c": "2", "h": "149", "n": "300", "q": f"{109 / 273:.6g}", "b": "16", "s": "151", "t": "151", "u": "273"}
    rows = {re.sub(r"\*([a-z])\*", lambda match: numbers[match[1]], row[0]) for row in table(OWNER, "the status says")}
    spec = parse(FederatedJob, WHOLE["FederatedJob"], "").spec
    weighted = replace(spec, strategy=replace(spec.strategy, weighting=Weighting.EXAMPLES))
    plain = replace(spec, secure_aggregation=SecureAggregation(Protocol.NONE))
    made: set[str] = set()
    for each in (spec, weighted, plain):
        made |= set(guarantees.guarantees(each, Aggregation("SecAggPlus", 151, 2, 151, 16, 273), 300))
    made |= set(guarantees.guarantees(spec, Aggregation("SecAggPlus", 151, 0, 151, 16, 273), 300)[:1])

    assert made == rows


def test_the_page_lists_the_values_that_matter_with_their_defaults() -> None:
    values = yaml.safe_load((REPOSITORY / "charts" / "coterie" / "values.yaml").read_text())
    for name, default, _ in table(ADMINISTRATOR, "value | default | what it is"):
        found = values
        for part in name.split("."):
            found = found[part]

        assert yaml.safe_load(default) == found, name


def test_the_page_on_installing_says_which_kubernetes_is_tested_and_which_are_not() -> None:
    page = (REPOSITORY / "docs" / "install.md").read_text()
    needed = yaml.safe_load((REPOSITORY / "charts" / "coterie" / "Chart.yaml").read_text())["kubeVersion"]
    first, last = (int(re.findall(r"\d+", version)[1]) for version in (needed, KUBERNETES_VERSION))
    untried = [f"1.{minor}" for minor in range(first, last)]

    assert f"- Kubernetes 1.{first} or newer" in page
    assert f"Every test runs on {KUBERNETES_VERSION.removeprefix('v')}" in page
    assert f"{', '.join(untried[:-1])} and {untried[-1]} are expected to work and *not tried*" in page


def test_every_setting_is_on_the_page_with_its_default() -> None:
    page = (REPOSITORY / ADMINISTRATOR).read_text()
    rows = {row[0]: row[1] for row in table(ADMINISTRATOR, "setting | default | what it is")}
    for each in fields(Settings):
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), each.name)

        assert f"`{camel}`" in page, each.name
        if camel in rows and each.default is not MISSING:
            assert rows[camel] == (shown(each.default) if each.default != "" else "*empty*"), each.name


def test_every_setting_of_the_page_is_one_that_the_operator_reads() -> None:
    for name, default, _ in table(ADMINISTRATOR, "setting | default | what it is"):
        variable = "COTERIE_" + re.sub(r"([A-Z])", r"_\1", name).upper()
        value = {"JSON": '{"requests": {}, "limits": {}}', "*empty*": ""}.get(default, default)

        from_environment({variable: value})
