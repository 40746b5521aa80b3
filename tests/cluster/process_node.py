"""The only node of the control plane's tests, as a process of its own: pods run as local processes by the embedded mode's runner.

    python -m tests.cluster.process_node KUBECONFIG FOLDER VOLUMES…

Claim c of namespace n is the folder n/c of the first of VOLUMES that has it, else an empty one below FOLDER.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from coterie_operator.kube import KubeCluster
from coterie_operator.local.embedded import WARM_MODULES, is_warm
from coterie_operator.local.kubelet import ProcessKubelet
from coterie_operator.local.podrun import Backoff, Node
from coterie_operator.local.processes import Processes


async def run(kubeconfig: Path, folder: Path, volumes: list[Path]) -> None:
    """Run pods until SIGTERM; then none of their processes is left."""

    def claim(namespace: str, name: str) -> Path:
        given = next((found for parent in volumes if (found := parent / namespace / name).is_dir()), None)
        own = folder / "claims" / namespace / name
        if given is None:
            own.mkdir(parents=True, exist_ok=True)
        return given or own

    processes = Processes(WARM_MODULES)
    await processes.open()
    async with await KubeCluster.connect(kubeconfig) as cluster:
        # A task's module lies beside its volumes, as it lies in the import path of a worker image.
        python_path = tuple(str(parent.parent) for parent in volumes)
        node = Node(cluster, processes, folder / "logs", python_path, Backoff(0.5, 5.0), is_warm, grace_limit_seconds=5.0)
        kubelet = asyncio.create_task(ProcessKubelet(node, folder / "pods", claim).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, kubelet.cancel)
        await asyncio.wait({kubelet})
        if not kubelet.cancelled():
            kubelet.result()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2]), [Path(each) for each in sys.argv[3:]]))
