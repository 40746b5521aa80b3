from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from tests.unit.coterie_worker.aggregator_files.crash_disk import CrashDisk, Loss, crashes

from coterie_api.history import RoundLine
from coterie_worker.aggregator.publish import ModelMissing, Models, Output, OutputFailed, OutsideOutput, capacity
from coterie_worker.durable import SystemDisk
from coterie_worker.layout import Entry, Kind, Layout, Mismatch
from coterie_worker.layout.tensorfile import read

PARAMETERS = np.array([1.0, -2.5, 3.25], dtype=np.float32)


def test_a_published_model_is_the_raw_vector(tmp_path):
    Models(tmp_path).publish(7, PARAMETERS)

    assert np.fromfile(tmp_path / "models" / "7.f32", "<f4").tolist() == PARAMETERS.tolist()


def test_a_model_comes_back(tmp_path):
    models = Models(tmp_path)
    models.publish(7, PARAMETERS)

    assert models.read(7, 3).tolist() == PARAMETERS.tolist()
    assert models.read(7, 3).dtype == np.float32


@pytest.mark.parametrize(("version", "size", "found"), [(8, 3, "absent"), (7, 4, "12 bytes"), (7, 2, "12 bytes")])
def test_a_model_that_is_absent_or_of_another_length_is_refused(tmp_path, version, size, found):
    models = Models(tmp_path)
    models.publish(7, PARAMETERS)

    with pytest.raises(ModelMissing, match=f"{version}.f32: {found}, must be {4 * size} bytes"):
        models.read(version, size)


def test_only_what_is_kept_stays(tmp_path):
    models = Models(tmp_path)
    for version in (1, 2, 3, 10):
        models.publish(version, PARAMETERS)
    models.prune(frozenset({2, 10, 11}))

    assert models.present() == {2, 10}


@pytest.mark.parametrize("name", ["5.f32.tmp", "best.f32", "-5.f32", "5", "5.json"])
def test_other_files_are_no_models_and_stay(tmp_path, name):
    models = Models(tmp_path)
    (tmp_path / "models" / name).write_bytes(b"x")
    models.prune(frozenset())

    assert models.present() == frozenset()
    assert (tmp_path / "models" / name).exists()


def test_a_model_published_again_takes_the_place_of_the_first(tmp_path):
    models = Models(tmp_path)
    models.publish(7, PARAMETERS)
    models.publish(7, -PARAMETERS)

    assert models.read(7, 3).tolist() == (-PARAMETERS).tolist()


def test_a_reader_never_sees_half_a_model(tmp_path):
    def play(folder, disk, witness):
        models = Models(folder, disk)
        models.publish(7, PARAMETERS)
        models.publish(7, -PARAMETERS)

    for folder, _ in crashes(tmp_path, play, [Loss.NOTHING]):
        if Models(folder).present():
            assert abs(Models(folder).read(7, 3)).tolist() == abs(PARAMETERS).tolist()


def test_a_published_model_survives_every_crash(tmp_path):
    def play(folder, disk, witness):
        models = Models(folder, disk)
        models.publish(1, PARAMETERS)
        witness.append(1)
        models.publish(2, -PARAMETERS)
        models.prune(frozenset({1, 2}))

    for folder, witness in crashes(tmp_path, play):
        if witness:
            assert Models(folder).read(1, 3).tolist() == PARAMETERS.tolist()


@pytest.mark.parametrize(
    ("size", "has_evaluator", "expected"),
    [(10**6, False, 0), (10**6, True, 67), (10**8, True, 3), (1, True, 67108864), (0, True, 268435456)],
)
def test_more_small_models_than_large_ones_wait_for_the_evaluator(size, has_evaluator, expected):
    assert expected == capacity(size, has_evaluator=has_evaluator)


# The result.

LAYOUT = Layout.of([Entry("w", (3,), "float32", Kind.PARAMETER)])


def initial():
    header = b'{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}'
    return len(header).to_bytes(8, "little") + header + bytes(12)


def test_the_result_holds_the_parameters(tmp_path):
    Output(tmp_path, "a/b").write_model(LAYOUT, PARAMETERS, initial())
    tensors = read((tmp_path / "a/b/model.safetensors").read_bytes())

    assert np.frombuffer(tensors["w"].data, "<f4").tolist() == PARAMETERS.tolist()


def test_the_history_goes_with_the_result(tmp_path):
    Output(tmp_path, ".").write_history([RoundLine(1, 1, 1, 3, 3), RoundLine(2, 2, 1, 3, 3)])

    assert (tmp_path / "history.jsonl").read_bytes().count(b'"schema":"coterie/history/v1"') == 2


@pytest.mark.parametrize("path", ["/etc", "..", "a/../../b", "../output2"])
def test_a_path_out_of_the_output_volume_is_refused(tmp_path, path):
    with pytest.raises(OutsideOutput, match="must be a path below the output volume"):
        Output(tmp_path, path)


def test_parameters_of_another_length_leave_the_old_result_whole(tmp_path):
    output = Output(tmp_path, "")
    output.write_model(LAYOUT, PARAMETERS, initial())
    before = (tmp_path / "model.safetensors").read_bytes()

    with pytest.raises(Mismatch):
        output.write_model(LAYOUT, PARAMETERS[:2], initial())

    assert before == (tmp_path / "model.safetensors").read_bytes()


def test_a_result_that_the_volume_does_not_take_names_file_and_cause_and_no_path(tmp_path):
    (tmp_path / "out").write_text("a file in the folder's place")
    output = Output(tmp_path, "out")

    with pytest.raises(OutputFailed, match=r"^model\.safetensors: File exists$"):
        output.write_model(LAYOUT, PARAMETERS, initial())
    with pytest.raises(OutputFailed, match=r"^history\.jsonl: File exists$"):
        output.write_history([])


def test_a_full_volume_leaves_the_old_result_whole(tmp_path):
    class Full(SystemDisk):
        def write(self, path, parts):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    Output(tmp_path, "").write_model(LAYOUT, PARAMETERS, initial())
    before = (tmp_path / "model.safetensors").read_bytes()

    with pytest.raises(OutputFailed, match=r"^model\.safetensors: No space left on device$"):
        Output(tmp_path, "", Full()).write_model(LAYOUT, PARAMETERS * 2, initial())

    assert before == (tmp_path / "model.safetensors").read_bytes()


def test_no_crash_leaves_half_a_result(tmp_path):
    def play(folder, disk, witness):
        Output(folder, "out", disk).write_model(LAYOUT, PARAMETERS, initial())

    whole = CrashDisk(tmp_path)
    Output(tmp_path, "whole-result", whole).write_model(LAYOUT, PARAMETERS, initial())
    expected = (tmp_path / "whole-result/model.safetensors").read_bytes()
    for folder, _ in crashes(tmp_path, play):
        path = folder / "out/model.safetensors"

        assert not path.exists() or path.read_bytes() == expected
