"""Rules as Prometheus itself judges them: each alert fires when it must, and stays silent when it must not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from monitoring import rules
from monitoring.files import ROOT
from tests.unit.monitoring.promtool import needed, promtool

if TYPE_CHECKING:
    from pathlib import Path

RULES = ROOT / "charts" / "coterie" / "rules" / "coterie.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
JOB = 'job_namespace="research",job_name="digits"'
DOMAIN = 'domain_namespace="hospital-a",domain="visits"'
OF_JOB = {"job_namespace": "research", "job_name": "digits"}
OF_DOMAIN = {"domain_namespace": "hospital-a", "domain": "visits"}

Series = dict[str, str]  # name with labels -> values, a minute apart


@dataclass(frozen=True)
class Case:
    """One world in which an alert fires, with these labels, or doesn't (None)."""

    alert: str
    what: str
    series: Series
    at: str
    labels: dict[str, str] | None


def job(*, last_round: str = "0x300", deadline: int = 600, **conditions: str) -> Series:
    held = {"Admitted": "1x300", **conditions}
    return {
        f"coterie_job_last_round_timestamp_seconds{{{JOB}}}": last_round,
        f"coterie_job_round_deadline_seconds{{{JOB}}}": f"{deadline}x300",
        **{f'coterie_job_condition{{{JOB},condition="{name}",status="True"}}': values for name, values in held.items()},
    }


def rounds(total: str, count: str) -> Series:
    return {f"coterie_round_duration_seconds_{name}{{{JOB}}}": values for name, values in (("sum", total), ("count", count))}


def evaluations(done: str, evaluated: str) -> Series:
    return {f"coterie_rounds_done{{{JOB}}}": done, f"coterie_evaluated_rounds{{{JOB}}}": evaluated}


def passes(failed: str) -> Series:
    return {'coterie_reconcile_errors_total{reason="Unavailable"}': failed, "coterie_reconcile_seconds_count": "0+60x60"}


def budget(spent: float) -> Series:
    return {f"coterie_privacy_epsilon_spent{{{DOMAIN}}}": f"{spent}x10", f"coterie_privacy_epsilon_budget{{{DOMAIN}}}": "10x10"}


HOURLY = "0x59 1x59 2x59 3x59"  # rounds done
FEW = f'coterie_round_attempts_total{{{JOB},outcome="TooFewSurvivors"}}'
FAILURES = f"coterie_job_aggregator_failures{{{JOB}}}"
REFUSED = 'coterie_api_requests_total{verb="patch",code="429"}'
DIVERGED = f"coterie_privacy_ledger_diverged{{{DOMAIN}}}"

CASES = [
    Case("FederatedJobStuck", "no round for an hour", job(), "60m", OF_JOB),
    Case("FederatedJobStuck", "within three deadlines", job(), "29m", None),
    Case("FederatedJobStuck", "long rounds are allowed", job(deadline=3600), "60m", None),
    Case("FederatedJobStuck", "rounds go on", job(last_round="0+60x300"), "60m", None),
    Case("FederatedJobStuck", "it has ended", job(Succeeded="1x300"), "60m", None),
    Case("FederatedJobStuck", "it is suspended", job(Suspended="1x300"), "60m", None),
    Case("FederatedJobStuck", "it waits for consent", job(Admitted="0x300"), "60m", None),
    Case("FederatedJobTooFewSurvivors", "four tries failed", {FEW: "0 0 1 2 3 4x20"}, "15m", OF_JOB),
    Case("FederatedJobTooFewSurvivors", "one try failed", {FEW: "0 0 1x20"}, "15m", None),
    Case("FederatedJobTooFewSurvivors", "long ago", {FEW: "0 0 1 2 3 4x200"}, "100m", None),
    Case("FederatedJobAggregatorRestarting", "twice in an hour", {FAILURES: "0x10 1x10 2x10"}, "25m", OF_JOB),
    Case("FederatedJobAggregatorRestarting", "once", {FAILURES: "0x10 1x30"}, "25m", None),
    Case("FederatedJobAggregatorRestarting", "twice yesterday", {FAILURES: "2x300"}, "200m", None),
    Case("FederatedJobRoundsSlow", "from 20 s to 60 s", rounds("0+60x1000 60000+60x100", "0+3x1000 3000+1x100"), "1060m", OF_JOB),
    Case("FederatedJobRoundsSlow", "as ever", rounds("0+60x1100", "0+3x1100"), "1060m", None),
    Case("FederatedJobRoundsSlow", "short all the same", rounds("0+60x1000 60000+60x100", "0+60x1000 60000+20x100"), "1060m", None),
    Case("FederatedJobEvaluatorSilent", "no evaluation while rounds go on", evaluations("0+1x100", "3x100"), "60m", OF_JOB),
    Case("FederatedJobEvaluatorSilent", "evaluations lag and come", evaluations("5+1x100", "0+1x100"), "60m", None),
    Case("FederatedJobEvaluatorSilent", "all are evaluated", evaluations("3x100", "3x100"), "60m", None),
    Case("FederatedJobEvaluatorSilent", "nobody evaluates", evaluations("0+1x100", "NaN " * 100), "60m", None),
    Case("FederatedJobEvaluatorSilent", "the first evaluation of a young job runs", evaluations("0+1x15", "0x15"), "15m", None),
    Case("FederatedJobEvaluatorSilent", "an evaluation begins anew with the aggregator", evaluations("50+1x15", "0x15"), "15m", None),
    Case("FederatedJobEvaluatorSilent", "none came since it began anew", evaluations("50x60", "0x60"), "45m", OF_JOB),
    Case("FederatedJobEvaluatorSilent", "rounds of 1 h, evaluations of 15 min", evaluations(HOURLY, "0x74 1x59 2x59"), "134m", None),
    Case("FederatedJobEvaluatorSilent", "rounds of 1 h, no evaluation", evaluations(HOURLY, "0x200"), "105m", OF_JOB),
    Case("FederatedJobEvaluatorSilent", "each evaluation lasts 25 rounds", evaluations("0+1x100", "0x24 1x24 25x24 50x24"), "74m", None),
    Case("CoterieOperatorNotLeading", "two stand by", {'coterie_leader{pod="a"}': "0x20", 'coterie_leader{pod="b"}': "0x20"}, "10m", {}),
    Case("CoterieOperatorNotLeading", "nobody is there", {"up": "1x20"}, "10m", {}),
    Case("CoterieOperatorNotLeading", "one acts", {'coterie_leader{pod="a"}': "0x20", 'coterie_leader{pod="b"}': "1x20"}, "10m", None),
    Case("CoterieOperatorNotLeading", "a takeover", {"coterie_leader": "1x10 0 0 1x20"}, "15m", None),
    Case("CoterieReconcileErrors", "a fifth fails", passes("0+12x60"), "40m", {}),
    Case("CoterieReconcileErrors", "one in sixty fails", passes("0+1x60"), "40m", None),
    Case("CoterieApiThrottled", "ten a minute", {REFUSED: "0+10x60"}, "40m", {}),
    Case("CoterieApiThrottled", "one at all", {REFUSED: "0x5 1x60"}, "8m", None),
    Case("CoterieApiThrottled", "other codes", {REFUSED.replace("429", "409"): "0+10x60"}, "40m", None),
    Case("CoteriePrivacyBudgetNearlySpent", "95 %", budget(9.5), "5m", OF_DOMAIN),
    Case("CoteriePrivacyBudgetNearlySpent", "80 %", budget(8), "5m", None),
    Case("CoteriePrivacyLedgerDiverged", "diverged", {DIVERGED: "0 1x10"}, "5m", OF_DOMAIN),
    Case("CoteriePrivacyLedgerDiverged", "agrees", {DIVERGED: "0x10"}, "5m", None),
]


def test_every_alert_has_cases_in_which_it_fires_and_doesnt() -> None:
    names = {alert.alert for alert in rules.ALERTS}

    assert {case.alert for case in CASES if case.labels is not None} == names
    assert {case.alert for case in CASES if case.labels is None} == names


@needed
def test_prometheus_takes_the_rules() -> None:
    done = promtool("check", "rules", RULES)

    assert done.returncode == 0, done.stdout + done.stderr


def document(case: Case) -> dict[str, Any]:
    alert = next(each for each in rules.ALERTS if each.alert == case.alert)
    expected = [] if case.labels is None else [{"exp_labels": {"severity": alert.severity.value, **case.labels}}]
    return {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
            }
        ],
    }


def annotated(case: Case, answer: str) -> dict[str, Any]:
    """The same case with the annotations that Prometheus itself made: they depend on the value, which isn't the case's business."""
    got = re.search(r"got:\[.*?Annotations:\{(.*?)\}\s*\]", answer, re.DOTALL)
    assert got is not None, answer
    made = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', got[1]))
    whole = document(case)
    whole["tests"][0]["alert_rule_test"][0]["exp_alerts"][0]["exp_annotations"] = made
    return whole


def judged(whole: dict[str, Any], folder: Path) -> Any:
    file = folder / "case.yaml"
    file.write_text(yaml.safe_dump(whole))
    return promtool("test", "rules", file)


@needed
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.what}")
def test_an_alert_fires_when_it_must_and_only_then(case: Case, tmp_path: Path) -> None:
    done = judged(document(case), tmp_path)
    if case.labels is not None:
        done = judged(annotated(case, done.stdout + done.stderr), tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", rules.ALERTS, ids=lambda alert: alert.alert)
def test_an_alert_tells_a_person_what_it_is_and_what_to_do(alert: rules.Alert) -> None:
    dumped = alert.dump()
    address = dumped["annotations"]["runbook_url"]
    page = (RUNBOOKS / address.removeprefix(f"{rules.RUNBOOKS}/")).read_text()

    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert page.startswith(f"# {alert.alert}\n")
    assert dumped["annotations"]["summary"].endswith(".")
    assert dumped["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert.alert.startswith(("FederatedJob", "Coterie"))


def test_every_runbook_has_its_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {alert.alert for alert in rules.ALERTS}


@pytest.mark.parametrize("rule", rules.RECORDINGS, ids=lambda rule: rule.record)
def test_a_recording_is_named_by_level_metric_and_operations(rule: rules.Recording) -> None:
    assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", rule.record)
