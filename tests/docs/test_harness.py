"""The harness sees what is broken: each law here is a block that must not pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs import commands
from tests.docs.blocks import Block, Kind, UnknownBlockError, blocks, kind_of
from tests.docs.checks import BrokenBlockError, Desk, merged

JOB = """apiVersion: coterie.dev/v1alpha1
kind: FederatedJob
metadata: {name: j, namespace: research}
spec:
  rounds: 1
  task: {entrypoint: "task:Task"}
  participants: {datasets: [{namespace: a, name: d}, {namespace: b, name: d}, {namespace: c, name: d}, {namespace: e, name: d}]}
  privacy: {mode: None}
"""

BROKEN = {
    "a misspelled field": ("yaml", JOB.replace("rounds", "round")),
    "a value out of bounds": ("yaml", JOB.replace("rounds: 1", "rounds: 0")),
    "a mode that is not built yet": ("yaml", JOB.replace("mode: None", "mode: Client, epsilon: 1, delta: 1.0e-5, clippingNorm: 1")),
    "yaml that is none": ("yaml", "a: [1"),
    "yaml without an object": ("yaml", "# nothing\n"),
    "a list of objects": ("yaml", "- apiVersion: v1\n"),
    "a fragment with a misspelled field": ("yaml fragment FederatedJob", "spec: {training: {localEpoch: 1}}"),
    "a fragment with a wrong value": ("yaml fragment FederatedJob", "spec: {training: {optimizer: {name: Sgd}}}"),
    "a fragment that contradicts itself": ("yaml fragment FederatedJob", "spec: {training: {localEpochs: 1, localSteps: 1}}"),
    "a fragment of the other kind": ("yaml fragment FederatedDataset", "spec: {rounds: 1}"),
    "a fragment that is not built yet": ("yaml fragment FederatedDataset", "spec: {maxConcurrentJobs: 1}"),
    "a fragment of something else": ("yaml fragment FederatedJob", "training: {localEpochs: 1}"),
    "a fragment that is no object": ("yaml fragment FederatedJob", "just words"),
    "a value that the chart has not": ("yaml values", "tenant: [a]"),
    "python that raises": ("python", "raise SystemExit(3)"),
    "python that does not compile": ("python", "# task.py\ndef f(:\n"),
    "a file outside of the folder": ("python", "# ../outside.py\n"),
    "a Dockerfile that copies what is not there": ("dockerfile", "# Dockerfile\nFROM scratch\nCOPY nothing.py /\n"),
    "a Dockerfile with an instruction from elsewhere": ("dockerfile", "# Dockerfile\nFORM scratch\n"),
    "a command that fails": ("sh", "false"),
    "a command that fails before another": ("sh", "false\ntrue"),
    "a command that fails in a pipe": ("sh", "false | cat"),
    "an unset variable": ("sh", 'echo "$NOBODY_SETS_THIS"'),
    "a shell's syntax error": ("sh", "if true; then"),
    "a target that make has not": ("sh", "make no-such-target"),
    "an install that is not on the list": ("sh", "sudo apt-get install something-else"),
    "a pip install that is not on the list": ("sh", "pip install something-else"),
    "a clone that is not on the list": ("sh", "git clone https://example.com/x"),
    "an option that coterie has not": ("sh slow", "coterie run examples/digits --outptu out"),
    "a folder that is not there": ("sh slow", "coterie run examples/no-such"),
    "a command that coterie has not": ("sh slow", "coterie rnu examples/digits"),
    "a flag that kubectl has not": ("sh", "kubectl get fjob --all-namespace"),
    "a verb that kubectl has not": ("sh", "kubectl aply -f x"),
    "a bad flag that only a node would see": ("sh node", "helm test coterie --lgos"),
    "a bad flag in a loop": ("sh", "for a in b; do kubectl apply --fiel $a; done"),
    "a bad flag in a substitution": ("sh", 'x=$(kubectl get fjob --no-such)\necho "$x"'),
    "a bad flag on the next line": ("sh", "kubectl get fjob \\\n  --no-such"),
    "a syntax error beside kubectl": ("sh", "kubectl get fjob | "),
    "a bad coterie option beside kubectl": ("sh", "coterie keygen --file x\nkubectl get fjob"),
    "json that is none": ("json", '{"a": 1,}'),
}

UNKNOWN = {
    "no language": "",
    "a language that nobody checks": "rust",
    "yaml of no kind": "yaml example",
    "a fragment of no kind": "yaml fragment",
    "a fragment of an unknown kind": "yaml fragment Pod",
    "python with more words": "python norun",
    "a shell of another name": "bash",
    "a cluster block that calls itself slow": "sh slow",
    "a node block of another name": "sh nodes",
    "a Dockerfile without a name": "dockerfile",
    "text with more words": "text really",
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk.prepare(folder)


def block(info: str, text: str) -> Block:
    return Block(Path("/page.md"), 1, info, text)


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_block_fails(law: str, desk: Desk) -> None:
    info, text = BROKEN[law]

    with pytest.raises(BrokenBlockError):
        desk.check(block(info, text))


@pytest.mark.parametrize("law", UNKNOWN)
def test_a_block_that_no_check_sees_is_refused(law: str, desk: Desk) -> None:
    with pytest.raises(UnknownBlockError):
        desk.check(block(UNKNOWN[law], "kubectl get pods\n"))


def test_a_fence_that_is_never_closed_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nfalse\n")

    with pytest.raises(UnknownBlockError):
        blocks(page)


def test_blocks_are_found_also_in_lists(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("1. First\n\n   ```sh\n   true\n     false\n   ```\n\n```text\nx\n```\n")

    assert [(found.line, found.info, found.text) for found in blocks(page)] == [(3, "sh", "true\n  false\n"), (8, "text", "x\n")]


def test_files_are_written_before_the_commands_that_read_them(desk: Desk) -> None:
    desk.check(block("python", "# task/hello.py\nprint('hello')\n"))
    desk.check(block("sh", 'python task/hello.py > said; test "$(cat said)" = hello'))

    assert (desk.folder / "said").read_text() == "hello\n"


def test_a_block_that_names_kubectl_is_not_run_without_a_cluster(desk: Desk) -> None:
    desk.check(block("sh", "touch run\nkubectl get fjob -n research\n"))

    assert not (desk.folder / "run").exists()


def test_a_block_that_needs_a_node_is_not_run_and_must_touch_the_cluster(desk: Desk) -> None:
    desk.check(block("sh node", "touch run\nhelm test coterie\n"))

    assert not (desk.folder / "run").exists()
    with pytest.raises(UnknownBlockError):
        desk.check(block("sh node", "true\n"))


def test_words_about_kubectl_make_no_cluster_block() -> None:
    assert kind_of(block("sh", "echo about kubectl\n")) is Kind.SHELL


def test_only_whole_known_lines_are_passed_over() -> None:
    known = next(iter(commands.PASSED_OVER))

    assert commands.remainder(f"{known}\ntrue\n") == "true\n"
    with pytest.raises(commands.UnknownCommandError):
        commands.remainder(f"{known} and-more\n")


def test_merging_leaves_what_lies_beneath_alone() -> None:
    under = {"a": {"b": 1}, "c": [1]}

    assert merged(under, {"a": {"d": 2}, "c": [2]}) == {"a": {"b": 1, "d": 2}, "c": [2]}
    assert under == {"a": {"b": 1}, "c": [1]}
