"""Vector and initial model to a whole file, and back, without torch."""

from __future__ import annotations

import numpy as np
import pytest

from coterie_worker.layout import Entry, InvalidFile, Kind, Layout, Mismatch, pack, publish
from coterie_worker.layout.tensorfile import Tensor, read, write

LAYOUT = Layout.of(
    [
        Entry("w", (2, 2), "float32", Kind.PARAMETER),
        Entry("tied", (2, 2), "float32", Kind.PARAMETER, alias_of="w"),
        Entry("half", (3,), "bfloat16", Kind.PARAMETER),
        Entry("var", (2,), "float32", Kind.BUFFER, minimum=0.0),
        Entry("count", (), "int64", Kind.FIXED),
        Entry("count_too", (), "int64", Kind.FIXED, alias_of="count"),
    ]
)
VECTOR = np.array([1, 2, 3, 4, 0.5, -0.25, 8, 5, 6], np.float32)


def tensor(dtype: str, array: np.ndarray) -> Tensor:
    return Tensor(dtype, array.shape, np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def tensors() -> dict[str, Tensor]:
    weight = tensor("float32", np.zeros((2, 2), np.float32))
    count = tensor("int64", np.array(41))
    return {
        "w": weight,
        "tied": weight,
        "half": tensor("bfloat16", np.zeros(3, np.uint16)),
        "var": tensor("float32", np.ones(2, np.float32)),
        "count": count,
        "count_too": count,
    }


INITIAL = write(tensors(), {})


def test_the_published_file_holds_the_vector_the_aliases_and_what_was_fixed():
    published = read(publish(LAYOUT, VECTOR, INITIAL))

    assert published.keys() == tensors().keys()
    assert np.frombuffer(published["w"].data, np.float32).tolist() == [1, 2, 3, 4]
    assert published["tied"] == published["w"]
    assert int(np.frombuffer(published["count"].data, np.int64)[0]) == 41
    assert published["count_too"] == published["count"]


def test_packing_undoes_publishing():
    np.testing.assert_array_equal(pack(publish(LAYOUT, VECTOR, INITIAL), LAYOUT), VECTOR)


def test_equal_models_give_equal_bytes():
    assert publish(LAYOUT, VECTOR, INITIAL) == publish(LAYOUT, VECTOR.copy(), bytes(INITIAL))


def test_a_variance_that_rounding_took_below_zero_is_published_as_zero():
    vector = VECTOR.copy()
    vector[-1] = -1e-4

    assert np.frombuffer(read(publish(LAYOUT, vector, INITIAL))["var"].data, np.float32).tolist() == [5, 0]
    assert vector[-1] == np.float32(-1e-4)


@pytest.mark.parametrize("vector", [VECTOR[:-1], np.append(VECTOR, 0).astype(np.float32), VECTOR.astype(np.float64), VECTOR.reshape(3, 3)])
def test_a_vector_of_another_length_or_type_is_refused(vector):
    with pytest.raises(Mismatch, match=r"the layout needs float32\[9\]"):
        publish(LAYOUT, vector, INITIAL)


def test_a_file_may_leave_out_aliases():
    given = tensors()
    del given["tied"], given["count_too"]

    assert pack(write(given, {}), LAYOUT).shape == (9,)


def test_an_alias_that_differs_from_what_it_names_is_refused():
    given = tensors() | {"tied": tensor("float32", np.ones((2, 2), np.float32))}

    with pytest.raises(Mismatch, match="'tied' differs from 'w'"):
        pack(write(given, {}), LAYOUT)


@pytest.mark.parametrize("name", ["w", "half", "var", "count"])
def test_a_missing_tensor_is_named(name):
    given = tensors()
    del given[name]

    with pytest.raises(Mismatch, match=f"'{name}' is missing"):
        pack(write(given, {}), LAYOUT)


def test_a_tensor_that_the_model_does_not_have_is_named():
    with pytest.raises(Mismatch, match="'extra' is not in the task's model"):
        pack(write(tensors() | {"extra": tensors()["w"]}, {}), LAYOUT)


@pytest.mark.parametrize(
    ("name", "given", "found"),
    [
        ("w", tensor("float32", np.zeros((4,), np.float32)), r"float32\[4\]"),
        ("w", tensor("float64", np.zeros((2, 2))), r"float64\[2, 2\]"),
        ("half", tensor("float16", np.zeros(3, np.float16)), r"float16\[3\]"),
        ("count", tensor("int32", np.array(1, np.int32)), r"int32\[\]"),
    ],
)
def test_a_tensor_of_another_shape_or_type_is_told_with_both(name, given, found):
    with pytest.raises(Mismatch, match=f"'{name}' is {found}, the layout needs"):
        pack(write(tensors() | {name: given}, {}), LAYOUT)


def test_publishing_refuses_an_initial_model_without_the_fixed_tensors():
    given = tensors()
    del given["count"]

    with pytest.raises(Mismatch, match="'count' is missing"):
        publish(LAYOUT, VECTOR, write(given, {}))


def test_publishing_refuses_an_initial_model_that_is_no_file():
    with pytest.raises(InvalidFile):
        publish(LAYOUT, VECTOR, b"not a model")
