"""Which blocks of the pages are typed on a real node, and with what around them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.blocks import Block, Kind, kind_of
from tests.e2e import typed

PAGE = "examples/digits/README.md"


def test_the_page_on_installing_has_blocks_that_need_a_node_and_all_are_found() -> None:
    found = typed.node_blocks()

    assert [block.text for block in found if block.document.name == "install.md"]
    assert {kind_of(block) for block in found} == {Kind.NODE}


def test_a_section_ends_where_the_next_begins() -> None:
    here, on_a_cluster = (typed.section(PAGE, heading) for heading in ("On this machine", "On a cluster"))

    assert [block.text for block in here] == ["coterie run examples/digits --output out/digits\n"]
    assert on_a_cluster
    assert not {block.line for block in here} & {block.line for block in on_a_cluster}


def test_a_section_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="On the moon"):
        typed.section(PAGE, "On the moon")


@pytest.mark.parametrize(
    ("info", "text", "is_typed"),
    [
        ("sh", "kubectl get pods\n", True),
        ("sh", "mkdir keys\n", True),
        ("sh node", "helm test coterie\n", True),
        ("sh", "docker push registry.example/x\n", False),
        ("sh slow", "make images\n", False),
        ("yaml", "kind: Pod\n", False),
        ("text", "kubectl get pods\n", False),
    ],
)
def test_only_what_people_type_without_a_registry_is_typed(info: str, text: str, is_typed: bool) -> None:
    assert typed.can_be_typed(Block(Path("/page.md"), 1, info, text)) is is_typed


def test_on_the_examples_page_only_the_images_block_is_passed_over() -> None:
    passed_over = [block.text for block in typed.section(PAGE, "On a cluster") if not typed.can_be_typed(block)]

    assert len(passed_over) == 1
    assert passed_over[0].startswith("docker build")


def test_a_reader_has_the_tools_first_on_the_path_and_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    found = typed.environment(
        Path("/c/admin.kubeconfig"), Path("/c/reader"), {"kubectl": Path("/b/k8s/kubectl"), "helm": Path("/b/helm/helm")}
    )

    assert found["PATH"].startswith("/b/k8s:/b/helm:")
    assert found["PATH"].endswith(":/usr/bin")
    assert found["KUBECONFIG"] == "/c/admin.kubeconfig"
    assert all(value.startswith("/c/reader/") for name, value in found.items() if name not in {"PATH", "KUBECONFIG"})
