import os
from pathlib import Path

import pytest

from captum_paramsal.errors import SourceError
from captum_paramsal.files import open_folder, open_place, write_atomically


def test_makes_the_folder_and_leaves_no_trace(tmp_path):
    folder = open_folder(tmp_path / "a" / "b")
    assert list(folder.iterdir()) == []


def test_below_a_file_there_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"written to at '.*file/report', got NotADirectoryError"):
        open_folder(tmp_path / "file" / "report")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="FileExistsError"):
        open_folder(tmp_path / "file")


def test_replaces_files_whole(tmp_path):
    write_atomically(tmp_path, {"a.txt": "old", "b.txt": "old"})
    write_atomically(tmp_path, {"a.txt": "new", "c.txt": "ä\n", "d": b"\r\n\xff"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "a.txt": b"new",
        "b.txt": b"old",
        "c.txt": "ä\n".encode(),
        "d": b"\r\n\xff",
    }


def test_files_can_be_read_by_others(tmp_path):
    write_atomically(tmp_path, {"a.txt": "x"})
    expected = tmp_path / "plain"
    expected.write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == expected.stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_a_stop_while_writing_leaves_the_old_files(tmp_path, monkeypatch, error):
    write_atomically(tmp_path, {"a.txt": "old", "b.txt": "old"})
    calls = []
    original = os.fsync

    def stop(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise error
        original(descriptor)

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises((KeyboardInterrupt, SourceError)):
        write_atomically(tmp_path, {"a.txt": "new", "b.txt": "new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]
    assert Path(tmp_path / "a.txt").read_text() == "old"


def test_a_place_for_a_file(tmp_path):
    assert open_place(tmp_path / "made" / "file") == tmp_path / "made" / "file"
    assert list((tmp_path / "made").iterdir()) == []
    with pytest.raises(SourceError, match=r"a place to write a file to, got .*: there is a folder. Name a file"):
        open_place(tmp_path / "made")
    with pytest.raises(SourceError, match=r"a place to write a file to, got .*File name too long"):
        open_place(tmp_path / ("x" * 300))
