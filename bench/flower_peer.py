"""The same Fashion-MNIST job in Flower's simulation; runs in an environment of its own.

Usage: python flower_peer.py FOLDER ROUNDS. Each round begins with a line of standard input, and its seconds are a line of
standard output. Two clients at a time, one thread each: the machine's two cores.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch.nn import functional

FOLDER, ROUNDS = Path(sys.argv[1]), int(sys.argv[2])
CLIENTS = 10
sys.path.insert(0, str(FOLDER))
client_app, server_app = ClientApp(), ServerApp()


def task():
    from fashion_task import FashionMnist

    return FashionMnist({})


def shard(shop: int):
    """Loaded once in an actor's life, as our clients do; kept in the task's module, for this one is pickled by value."""
    import fashion_task

    shards = fashion_task.__dict__.setdefault("shards", {})
    if shop not in shards:
        shards[shop] = task().load_data(FOLDER / "volumes" / f"shop-{shop:02d}" / "fashion", "train")
    return shards[shop]


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One local epoch of plain SGD, batches by indexing: as lean as the loop of the other two."""
    torch.set_num_threads(1)
    model = task().build_model({"channels": 16})
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    shop = int(context.node_config["partition-id"]) + 1
    images, labels = shard(shop)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for rows in torch.randperm(len(labels)).split(64):
        optimizer.zero_grad()
        functional.cross_entropy(model(images.index_select(0, rows)), labels.index_select(0, rows)).backward()
        optimizer.step()
    content = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": len(labels)})}
    return Message(content=RecordDict(content), reply_to=message)


@server_app.main()
def main(grid: Grid, context: Context) -> None:  # noqa: ARG001
    """FedAvg over all clients; between two rounds, the clock stands."""
    begin = time.perf_counter()

    def tick(number: int, arrays: ArrayRecord) -> None:  # noqa: ARG001
        nonlocal begin
        if number:
            print("SECONDS", time.perf_counter() - begin, flush=True)
        if number < ROUNDS:
            sys.stdin.readline()
        begin = time.perf_counter()

    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=CLIENTS, min_available_nodes=CLIENTS)
    torch.manual_seed(7)
    initial = ArrayRecord(task().build_model({"channels": 16}).state_dict())
    result = strategy.start(grid=grid, initial_arrays=initial, num_rounds=ROUNDS, evaluate_fn=tick)
    print("ACCURACY", accuracy(result.arrays), flush=True)


def accuracy(arrays: ArrayRecord) -> float:
    """Of the last model on the test set: shows that the clients did train."""
    model = task().build_model({"channels": 16})
    model.load_state_dict(arrays.to_torch_state_dict())
    images, labels = task().load_data(FOLDER / "volumes" / "research" / "fashion-test", "test")
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean())


if __name__ == "__main__":
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": 2, "include_dashboard": False}}
    run_simulation(server_app, client_app, num_supernodes=CLIENTS, backend_config=resources)
