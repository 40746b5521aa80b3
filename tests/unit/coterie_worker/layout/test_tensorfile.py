"""Safetensors files, held against the `safetensors` package; most tests hand the reader what it must refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from coterie_worker.layout import InvalidFile
from coterie_worker.layout.tensorfile import Tensor, read, write


def raw(tensor: torch.Tensor) -> Tensor:
    name = str(tensor.dtype).removeprefix("torch.")
    data = tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else memoryview(b"")
    return Tensor(name, tuple(tensor.shape), data)


TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "b": torch.tensor(3, dtype=torch.int64),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "none": torch.empty(0, 4),
    "flags": torch.tensor([True, False, True]),
    "byte": torch.tensor([7], dtype=torch.uint8),
}


def file_of(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(**changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


def test_the_reference_reader_reads_what_is_written():
    loaded = safetensors.torch.load(write({name: raw(tensor) for name, tensor in TENSORS.items()}, {"format": "pt"}))

    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_what_the_reference_writer_writes_is_read():
    tensors = read(safetensors.torch.save(TENSORS, {"who": "me"}))

    assert {name: (t.dtype, t.shape, bytes(t.data)) for name, t in tensors.items()} == {
        name: (raw(t).dtype, raw(t).shape, bytes(raw(t).data)) for name, t in TENSORS.items()
    }


def test_equal_tensors_give_equal_bytes_in_any_order():
    tensors = {name: raw(tensor) for name, tensor in TENSORS.items()}

    assert write(tensors, {"x": "1", "y": "2"}) == write(dict(reversed(tensors.items())), {"y": "2", "x": "1"})


def test_each_tensor_starts_at_a_multiple_of_its_elements_width():
    data = write({name: raw(tensor) for name, tensor in TENSORS.items()}, {})
    length = int.from_bytes(data[:8], "little")

    assert (8 + length) % 8 == 0
    for name, item in json.loads(data[8 : 8 + length]).items():
        width = TENSORS[name].element_size()
        assert item["data_offsets"][0] % width == 0


@given(st.data())
def test_a_file_cut_short_anywhere_is_refused(data):
    whole = write({name: raw(tensor) for name, tensor in TENSORS.items()}, {})
    with pytest.raises(InvalidFile):
        read(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_bytes_that_no_tensor_claims_are_refused():
    with pytest.raises(InvalidFile, match="the tensors take 8 bytes, the file holds 9"):
        read(file_of({"a": entry()}, bytes(9)))


def test_two_tensors_over_the_same_bytes_are_refused():
    with pytest.raises(InvalidFile, match="the tensors take 16 bytes, the file holds 8"):
        read(file_of({"a": entry(), "b": entry()}, bytes(8)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "F31"}, "dtype 'F31'"),
        ({"dtype": 3}, "lacks dtype"),
        ({"shape": [-2]}, "other than sizes"),
        ({"shape": [True, 2]}, "other than sizes"),
        ({"shape": [2.0]}, "other than sizes"),
        ({"shape": "2"}, "lacks dtype, shape"),
        ({"shape": [3]}, "need 12"),
        ({"data_offsets": [0, 9]}, "bytes 0 to 9 of 8"),
        ({"data_offsets": [-8, 0]}, "bytes -8 to 0"),
        ({"data_offsets": [8, 0]}, "bytes 8 to 0"),
        ({"data_offsets": [0]}, "lacks dtype"),
        ({"data_offsets": ["0", "8"]}, "lacks dtype"),
    ],
)
def test_a_header_entry_that_lies_is_refused_by_name(changes, message):
    with pytest.raises(InvalidFile, match=message) as caught:
        read(file_of({"layer.w": entry(**changes)}, bytes(8)))
    assert "'layer.w'" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        (2**63).to_bytes(8, "little") + b"{}",
        file_of(b"\xff\xfe{}"),
        file_of(b"not json"),
        file_of([1]),
        file_of(b'{"a":1,"a":2}'),
        file_of({"a": None}),
        file_of(b"[" * 100_000),
        file_of(b"9" * 5_000),
        file_of(json.dumps({"a": entry()}).encode().replace(b"[2]", b"[" + b"9" * 5_000 + b"]")),
        file_of({"a": entry(shape=[10**4_000] * 2)}),
    ],
)
def test_what_is_no_safetensors_file_is_refused(data):
    with pytest.raises(InvalidFile):
        read(data)


def test_a_header_that_names_one_thing_twice_is_told_so():
    with pytest.raises(InvalidFile, match="the header names one thing twice"):
        read(file_of(b'{"a":1,"a":2}'))


def test_reading_copies_nothing():
    data = write({"a": raw(torch.ones(1000))}, {})

    assert np.shares_memory(np.frombuffer(read(data)["a"].data, np.uint8), np.frombuffer(data, np.uint8))
