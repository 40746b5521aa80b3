"""The blocks of the pages that need pods that run, and the example's way onto a cluster, typed on the real node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from tests.cluster import chart
from tests.controlplane.scenario import JOBS
from tests.docs.checks import Desk
from tests.e2e import place, release, typed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docs.blocks import Block
    from tests.e2e.site import Site

PAGE: Final = "examples/digits/README.md"
IMAGE: Final = "registry.example/research/digits:1"  # as the page calls it
NODE_BLOCKS: Final = typed.node_blocks()
# The page's job names no resources, and the node is small.
SMALL: Final = {f"{each}Resources": place.SMALL["resources"] for each in ("worker", "aggregator")}


def start_over(site: Site) -> None:
    """Remove the namespaces of jobs and tenants, and the volumes with data that were bound to claims in them."""
    site.cluster.kubectl("delete", "namespace", *place.NAMESPACES, "--ignore-not-found", "--timeout=180s")
    volumes = [f"{namespace}-{claim}" for namespace, claim in place.PLACES.items()]
    site.cluster.kubectl("delete", "pv", *volumes, "--ignore-not-found", "--timeout=60s")


@pytest.fixture(scope="module", autouse=True)
def _installed(site: Site) -> Iterator[None]:
    """A release in namespaces in which nobody has made anything yet: the page is to make it."""
    start_over(site)
    site.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=chart.to_yaml(place.namespaces()))
    release.install(site)
    release.upgrade(site, settings={**release.QUICK, **SMALL})
    release.leads(site)
    site.cluster.ctr("images", "tag", "--force", site.image, IMAGE)
    yield
    site.cluster.kubectl("delete", "fjob", "--all", "-n", JOBS, "--timeout=120s")
    site.cluster.helm("uninstall", chart.RELEASE, "--namespace", chart.NAMESPACE, "--wait")
    start_over(site)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk.prepare(folder)


@pytest.mark.parametrize("block", NODE_BLOCKS, ids=lambda block: block.place)
def test_a_block_that_needs_a_node_does_what_it_says(site: Site, desk: Desk, block: Block) -> None:
    assert typed.type_in(site, desk, block)


@pytest.mark.timeout(900)
def test_the_example_runs_on_a_cluster_as_its_page_says(site: Site, desk: Desk) -> None:
    for block in filter(typed.can_be_typed, typed.section(PAGE, "On a cluster")):
        typed.type_in(site, desk, block)
    status = site.cluster.get("fjob", "digits", "-n", JOBS)["status"]

    assert status["state"] == "Succeeded"
    assert status["accuracy"] >= 0.95
    assert status["survivors"] >= 4
