"""Rounding between float32 and the narrower types, held against torch, which shares no code with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coterie_worker.layout.dtypes import CODES, FLOATS, NAMES, from_bytes, to_bytes

TORCH = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
UNSIGNED = {2: np.uint16, 4: np.uint32, 8: np.uint64}


def bits(values: np.ndarray, dtype: str) -> np.ndarray:
    return np.frombuffer(to_bytes(values, dtype), UNSIGNED[CODES[dtype][1]])


def torch_bits(values: np.ndarray, dtype: str) -> np.ndarray:
    tensor = torch.from_numpy(values).to(TORCH[dtype])
    return np.frombuffer(tensor.view(torch.uint8).numpy().tobytes(), UNSIGNED[CODES[dtype][1]])


def test_every_float_type_can_lie_in_the_vector_and_in_a_file():
    assert set(TORCH) == FLOATS
    assert {NAMES[code] for code, _ in CODES.values()} == CODES.keys()


@pytest.mark.parametrize("dtype", sorted(FLOATS))
def test_rounding_is_that_of_torch_over_the_whole_range_of_float32(dtype):
    step = 65_537  # odd, so that every combination of low bits comes by: 65,535 patterns over all signs and exponents
    values = np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
    finite = ~np.isnan(values)

    np.testing.assert_array_equal(bits(values, dtype)[finite], torch_bits(values, dtype)[finite])


@given(st.integers(0, 0xFFFF))
def test_a_tie_between_two_bfloat16_values_goes_to_the_even_one(pattern):
    lower = np.array([pattern << 16], np.uint32).view(np.float32)
    tie = np.array([(pattern << 16) | 0x8000], np.uint32).view(np.float32)
    if not np.isfinite(tie[0]):
        return

    assert bits(tie, "bfloat16")[0] % 2 == 0
    assert bits(lower, "bfloat16")[0] == pattern


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("pattern", [0x7F80_0001, 0x7FC0_0000, 0x7FFF_FFFF, 0xFF80_0001, 0xFFFF_FFFF])
def test_nan_stays_nan_whatever_its_payload(dtype, pattern):
    values = np.array([pattern], np.uint32).view(np.float32)

    assert np.isnan(from_bytes(to_bytes(values, dtype), dtype)[0])


@pytest.mark.parametrize(("dtype", "value"), [("float16", 65_520.0), ("float16", -1e30), ("bfloat16", 3.4e38)])
def test_what_a_narrow_type_cannot_hold_becomes_infinity(dtype, value):
    assert np.isinf(from_bytes(to_bytes(np.array([value], np.float32), dtype), dtype)[0])


def test_a_float64_beyond_float32_becomes_infinity_without_a_warning():
    assert np.isinf(from_bytes(np.array([1e300]).view(np.uint8).data, "float64")[0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_no_values_are_no_bytes(dtype):
    assert to_bytes(np.empty(0, np.float32), dtype).nbytes == 0
    assert from_bytes(memoryview(b""), dtype).shape == (0,)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_value_of_a_narrow_type_comes_back_bit_for_bit(dtype):
    every = np.arange(2**16, dtype=np.uint32).astype(np.uint16)
    values = from_bytes(every.view(np.uint8).data, dtype)
    back = bits(values, dtype)

    np.testing.assert_array_equal(back[~np.isnan(values)], every[~np.isnan(values)])
