from __future__ import annotations

import numpy as np
import pytest
from tests.unit.coterie_worker.aggregator_files.crash_disk import crashes

from coterie_worker.durable import DISK, FolderInUse, FolderLock, replace


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    replace(DISK, path, [b"old"])
    replace(DISK, path, [b"ne", np.frombuffer(b"w.", np.uint8).data])

    assert path.read_bytes() == b"new."
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("sync", [True, False])
def test_appending_creates_and_extends(tmp_path, sync):
    DISK.append(tmp_path / "log", b"a\n", sync=sync)
    DISK.append(tmp_path / "log", b"b\n", sync=sync)

    assert (tmp_path / "log").read_bytes() == b"a\nb\n"


def test_truncating_cuts_the_end(tmp_path):
    DISK.write(tmp_path / "log", [b"abc"])
    DISK.truncate(tmp_path / "log", 1)

    assert (tmp_path / "log").read_bytes() == b"a"


def test_removing_what_is_not_there_is_fine(tmp_path):
    DISK.remove(tmp_path / "nothing")

    assert list(tmp_path.iterdir()) == []


def test_a_write_in_small_pieces_arrives_whole(tmp_path, monkeypatch):
    import coterie_worker.durable as module

    write = module.os.write
    monkeypatch.setattr(module.os, "write", lambda descriptor, view: write(descriptor, bytes(view[:3])))
    DISK.write(tmp_path / "file", [b"0123456789", np.arange(4, dtype=np.float32).data])

    assert (tmp_path / "file").read_bytes() == b"0123456789" + np.arange(4, dtype="<f4").tobytes()


def test_a_full_disk_leaves_the_old_content(tmp_path):
    def parts():
        yield b"half"
        raise OSError("no space left on device")

    replace(DISK, tmp_path / "file", [b"old"])
    with pytest.raises(OSError, match="no space"):
        replace(DISK, tmp_path / "file", parts())

    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_is_locked_once_at_a_time(tmp_path):
    with FolderLock(tmp_path), pytest.raises(FolderInUse, match="lock is locked by another process"):
        FolderLock(tmp_path)
    with FolderLock(tmp_path):
        pass


def test_a_lock_needs_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        FolderLock(tmp_path / "nowhere")


def test_after_a_crash_the_content_is_the_old_or_the_new(tmp_path):
    def play(folder, disk, witness):
        replace(disk, folder / "file", [b"old"])
        witness.append(b"old")
        replace(disk, folder / "file", [b"new"])
        witness.append(b"new")
        disk.remove(folder / "file.tmp")

    for folder, witness in crashes(tmp_path, play):
        path = folder / "file"
        allowed = {b"old", b"new"} if witness == [b"old"] else set(witness[-1:]) | ({None, b"old"} if not witness else set())

        assert (path.read_bytes() if path.exists() else None) in allowed


@pytest.mark.parametrize("forgotten", ["sync of the content", "sync of the folder", "rename"])
def test_a_recipe_with_a_step_forgotten_is_caught(tmp_path, forgotten):
    def broken(disk, path, content):
        if forgotten == "rename":
            disk.write(path, [content])
            return
        disk._store(path.with_name("file.tmp"), b"", content, sync=forgotten != "sync of the content")
        disk.rename(path.with_name("file.tmp"), path)
        if forgotten != "sync of the folder":
            disk.sync(path.parent)

    def play(folder, disk, witness):
        broken(disk, folder / "file", b"old")
        disk.sync(folder)
        witness.append(b"old")
        broken(disk, folder / "file", b"new")
        witness.append(b"new")
        disk.remove(folder / "nothing")

    def is_broken(folder, witness):
        found = (folder / "file").read_bytes() if (folder / "file").exists() else None
        return found != b"new" if b"new" in witness else found not in {b"old", b"new"}

    assert any(is_broken(folder, witness) for folder, witness in crashes(tmp_path, play) if witness)
