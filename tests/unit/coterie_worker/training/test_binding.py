"""Models in and out of the vector: whatever torch's `state_dict` can hold, or a refusal that names it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from coterie_worker.layout import Kind, Layout, Mismatch, pack, publish
from coterie_worker.layout.tensorfile import read
from coterie_worker.training.binding import Binding, describe, require, snapshot

# Source, because a process without Coterie must build the same models.
ZOO = """
import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Embedding(5, 3)
        self.decoder = nn.Linear(3, 5, bias=False)
        self.decoder.weight = self.encoder.weight


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("seen", torch.tensor(7))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("scratch", torch.zeros(9), persistent=False)


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.none = nn.Parameter(torch.empty(0, 3))
        self.wide = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
        self.across = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())


def frozen():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    return model


def shared():
    layer = nn.BatchNorm1d(3)
    return nn.ModuleDict({"first": layer, "second": layer})


ZOO = {
    "linear": lambda: nn.Linear(3, 2),
    "tied": Tied,
    "batch norm": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
    "shared batch norm": shared,
    "counters": Counted,
    "frozen": frozen,
    "odd": Odd,
    "bfloat16": lambda: nn.Linear(3, 2).to(torch.bfloat16),
    "float16": lambda: nn.Linear(3, 2).to(torch.float16),
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True),
    "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
    "nothing": lambda: nn.ReLU(),
}
"""
MODELS: dict = {}
exec(ZOO, MODELS)
every_model = pytest.mark.parametrize("name", MODELS["ZOO"])


def model_of(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return MODELS["ZOO"][name]()


def entry_of(layout: Layout, name: str):
    return next(entry for entry in layout.entries if entry.name == name)


@every_model
def test_a_model_comes_back_bit_for_bit_through_vector_and_file(name):
    model, other = model_of(name), model_of(name, seed=1)
    layout, file = describe(model), snapshot(model)
    binding = Binding.of(other, layout, file)
    binding.write(pack(file, layout))

    assert snapshot(other) == file
    assert publish(layout, binding.read(), file) == file


@every_model
def test_two_builds_of_a_model_have_one_layout(name):
    assert describe(model_of(name)).hash == describe(model_of(name, seed=1)).hash


def test_the_published_file_loads_strictly_where_coterie_is_not_installed(tmp_path):
    vectors = {}
    for number, name in enumerate(MODELS["ZOO"]):
        layout, file = describe(model_of(name)), snapshot(model_of(name))
        vector = np.arange(layout.size, dtype=np.float32) / 8
        (tmp_path / f"{number}.safetensors").write_bytes(publish(layout, vector, file))
        vectors[name] = [entry.name for entry in layout.entries]
    script = f"""{ZOO}
import importlib.util, json, sys
from safetensors.torch import load_file
sys.path = [path for path in sys.path if path.rstrip("/").rsplit("/", 1)[-1] not in ("api", "operator", "worker")]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
assert not any(importlib.util.find_spec("coterie_" + part) for part in ("api", "operator", "worker"))
for number, (name, build) in enumerate(ZOO.items()):
    model = build()
    model.load_state_dict(load_file(f"{tmp_path}/{{number}}.safetensors"), strict=True)
    flat = [p.detach().float().reshape(-1) for p in model.parameters() if p.requires_grad]
    print(json.dumps([name, torch.cat(flat).tolist() if flat else []]))
"""
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert run.returncode == 0, run.stderr
    for line in run.stdout.splitlines():
        name, values = json.loads(line)
        expected = np.arange(len(values)) / 8
        tolerance = 0.004 if "float16" in name else 0  # eight bits of bfloat16 hold these numbers only nearly
        assert np.allclose(values, expected, rtol=tolerance, atol=0), name
    assert len(run.stdout.splitlines()) == len(MODELS["ZOO"])


def test_a_tied_weight_has_one_place_and_keeps_both_names():
    layout = describe(model_of("tied"))

    assert layout.size == 15
    assert entry_of(layout, "decoder.weight").alias_of == "encoder.weight"


def test_buffers_of_batch_norm_lie_behind_what_the_server_optimizer_touches():
    layout = describe(model_of("batch norm"))

    assert (layout.trainable, layout.size) == (2 * 9 + 2 + 2 + 2, 24 + 4)
    assert [entry.name for entry in layout.in_vector if entry.offset >= layout.trainable] == ["1.running_mean", "1.running_var"]
    assert entry_of(layout, "1.num_batches_tracked").kind is Kind.FIXED


def test_integer_buffers_come_from_the_initial_model_each_time():
    model = model_of("counters")
    layout, file = describe(model), snapshot(model)
    model.seen.fill_(99)
    binding = Binding.of(model, layout, file)
    assert model.seen == 7

    model.seen.fill_(123)
    binding.write(pack(file, layout))
    assert model.seen == 7
    assert "scratch" not in {entry.name for entry in layout.entries}


def test_frozen_parameters_come_from_the_initial_model_and_stay_out_of_the_vector():
    model = model_of("frozen")
    layout, file = describe(model), snapshot(model)
    other = model_of("frozen", seed=9)
    Binding.of(other, layout, file)

    assert layout.size == 4
    assert torch.equal(other[0].weight, model[0].weight)
    assert not torch.equal(other[1].weight, model[1].weight)


def test_a_bfloat16_model_holds_the_rounded_master_and_says_so():
    model = model_of("bfloat16")
    layout, file = describe(model), snapshot(model)
    master = np.linspace(-1, 1, layout.size, dtype=np.float32)
    held = Binding.of(model, layout, file).write(master)

    np.testing.assert_array_equal(held, torch.from_numpy(master).to(torch.bfloat16).float().numpy())
    assert not np.array_equal(held, master)


def test_a_negative_variance_is_raised_to_zero_before_the_model_sees_it():
    model = model_of("batch norm")
    layout, file = describe(model), snapshot(model)
    vector = pack(file, layout)
    vector[-1] = -1e-3
    held = Binding.of(model, layout, file).write(vector)

    assert held[-1] == 0
    assert vector[-1] == np.float32(-1e-3)
    assert model[1].running_var[-1] == 0


def test_writing_takes_a_vector_that_may_not_be_written_to():
    model = model_of("linear")
    layout, file = describe(model), snapshot(model)
    vector = pack(file, layout)
    vector.flags.writeable = False
    binding = Binding.of(model, layout, file)
    binding.write(vector)
    with torch.no_grad():
        model.weight.add_(1)

    assert binding.read()[0] == vector[0] + 1


@every_model
@pytest.mark.parametrize("writeable", [True, False])
def test_a_change_is_what_the_model_holds_now_minus_what_it_held(name, writeable):
    model = model_of(name)
    layout, file = describe(model), snapshot(model)
    vector = pack(file, layout)
    given, vector.flags.writeable = vector.copy(), writeable
    binding = Binding.of(model, layout, file)
    before = binding.write(vector)
    with torch.no_grad():
        for tensor in binding.tensors:
            tensor.mul_(1.7).add_(0.3)

    change = binding.read_change(before)

    assert change.tobytes() == (binding.read() - before).tobytes()
    assert vector.tobytes() == given.tobytes()


class Extra(nn.Linear):
    def get_extra_state(self) -> dict:
        return {"secret": 3}

    def set_extra_state(self, state: dict) -> None:
        del state


class Hidden(nn.Linear):
    def state_dict(self, *args, **kwargs):
        return {name: tensor for name, tensor in super().state_dict(*args, **kwargs).items() if name != "bias"}


class Overlapping(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.other = nn.Linear(3, 3)
        self.other.weight = nn.Parameter(self.one.weight.t())


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.wave = nn.Parameter(torch.ones(2, dtype=torch.complex64))


class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("graph", torch.eye(3).to_sparse())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Extra(2, 2), "'_extra_state' in the model's state_dict is a dict"),
        (lambda: Hidden(2, 2), "parameter 'bias' is not in the model's state_dict"),
        (Overlapping, r"'one.weight' and 'other.weight' share memory|'other.weight' and 'one.weight' share memory"),
        (Complex, r"parameter 'wave' is torch\.complex64"),
        (lambda: nn.LazyLinear(2), "'weight' is lazy"),
        (lambda: nn.Linear(2, 2, device="meta"), "'weight' is lazy, on the meta device"),
        (Sparse, r"'graph' is lazy, on the meta device or not dense"),
    ],
)
def test_a_model_that_cannot_be_one_vector_is_refused_by_name(build, message):
    with pytest.raises(Mismatch, match=message):
        describe(build())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: nn.Linear(3, 4), r"'weight' is a Parameter float32\[4, 3\] at 0, the layout needs a Parameter float32\[2, 3\]"),
        (lambda: nn.Linear(3, 2, bias=False), "'bias' of the layout is not in the model"),
        (lambda: nn.Sequential(nn.Linear(3, 2)), "'0.weight' of the model is not in the layout"),
        (lambda: nn.Linear(3, 2).to(torch.float16), "float16"),
        (lambda: nn.Linear(3, 2).requires_grad_(False), "is a Fixed float32"),
    ],
)
def test_a_model_of_another_layout_is_refused_with_the_first_difference(other, message):
    with pytest.raises(Mismatch, match=message):
        require(other(), describe(model_of("linear")))


def test_an_untied_model_is_not_taken_for_the_tied_one():
    model = model_of("tied")
    model.decoder.weight = nn.Parameter(model.encoder.weight.detach().clone())

    with pytest.raises(Mismatch, match=r"'decoder\.weight'"):
        require(model, describe(model_of("tied")))


def test_an_initial_model_of_another_shape_is_refused_when_binding():
    with pytest.raises(Mismatch, match="'weight' is float32"):
        Binding.of(model_of("linear"), describe(model_of("linear")), snapshot(nn.Linear(3, 4)))


def test_a_tensor_replaced_during_training_is_noticed_even_if_its_shape_is_the_same():
    model = model_of("linear")
    binding = Binding.of(model, describe(model), snapshot(model))
    model.bias = nn.Parameter(torch.zeros(2))

    with pytest.raises(Mismatch, match="'bias' was replaced"):
        binding.require_intact(model)


def test_a_snapshot_names_every_tensor_of_the_state_dict():
    model = model_of("tied")

    assert read(snapshot(model)).keys() == model.state_dict().keys()
