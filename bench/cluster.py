"""`make bench-cluster`: what a federation costs on a real node, as root: start-up, memory, writes.

It uses the suite's own cluster (tests/e2e), the one that `make cluster` keeps running if there is one.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

import psutil
from tests.cluster import chart
from tests.controlplane.scenario import JOBS, Run
from tests.controlplane.writes import Writes, table
from tests.e2e import place, release
from tests.e2e.site import Site, alone

from bench.table import Row, render

if TYPE_CHECKING:
    from collections.abc import Iterable

QUIET_SECONDS: Final = int(os.environ.get("COTERIE_BENCH_QUIET_SECONDS", "300"))
MOST_SECONDS: Final = 90
MOST_MIB: Final = 130
MOST_WRITES: Final = 6  # for each child of a job


def rows(site: Site) -> Iterable[Row]:
    """Measure one run of the example from apply to delete, and then how quiet its end is."""
    place.make_namespaces(site)
    release.install(site)
    place.enroll(site)
    release.leads(site)
    yield Row("operator: resident memory, idle, the larger replica", idle_mib(), MOST_MIB, "MiB", 1)
    written = Writes.from_now(site.cluster.audit_log)
    begin = time.monotonic()
    run = Run.begin(site.cluster, place.digits("digits", site.image, rounds=20))
    status = run.succeeds()
    yield Row("digits: from kubectl apply to Succeeded", time.monotonic() - begin, MOST_SECONDS, "s", 1)
    yield Row("digits: accuracy of the last round", status["accuracy"], 0.95, "", 1, at_most=False)
    yield quiet(site, run)
    children = len(run.children())
    run.delete()
    print(table(written.all()), file=sys.stderr)
    yield Row("digits: writes of the operator, deletion included, for each child", len(written.all()) / children, MOST_WRITES, "", 1)


def quiet(site: Site, run: Run) -> Row:
    """Count writes while nothing changes; one would be too many, so the ratio's reference is one.

    The last news of a job's end is that its data sets are used no more.
    """
    run.waits(lambda: not any(each["status"].get("activeJobs") for each in site.cluster.get("fds", "-A")["items"]), "its data sets know")
    writes = Writes.from_now(site.cluster.audit_log)
    time.sleep(QUIET_SECONDS)
    print(table(writes.all()), file=sys.stderr)
    return Row(f"operator: writes within {QUIET_SECONDS} s in which nothing changes", len(writes.all()), 1, "", 0)


def idle_mib() -> float:
    """Return the resident memory of the larger of the operator's replicas, whose processes are the node's."""
    found = [each.memory_info().rss for each in psutil.process_iter() if _is_operator(each)]
    return max(found) / (1 << 20)


def _is_operator(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[-2:] == ["/opt/coterie/bin/coterie", "operator"]
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def main() -> int:
    """Print the table; 1 on a miss."""
    with alone(), Site.up() as site:
        try:
            found = list(rows(site))
        finally:
            site.cluster.kubectl("delete", "fjob", "--all", "-n", JOBS, "--ignore-not-found", "--timeout=120s")
            site.cluster.helm("uninstall", chart.RELEASE, "--namespace", chart.NAMESPACE, "--wait")
    print(render(found))
    return 0 if all(row.ok for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
