import os
import signal
import threading
from pathlib import Path

import pytest

from captum_paramsal.errors import SourceError
from captum_paramsal.files import open_folder, open_place, replacing, write_atomically


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


NAMES = ("a.txt", "b.txt", "c.txt", "gone.txt")


def _write_set(folder, words):
    with replacing(*(folder / name for name in NAMES[:3]), without=[folder / NAMES[3]]) as partials:
        for partial in partials:
            partial.write_text(words)


def _files(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt])
def test_where_one_file_cannot_be_put_in_place_all_stay_old(tmp_path, monkeypatch, error, place):
    old = dict.fromkeys(NAMES[1:], "old")
    for name, words in old.items():
        (tmp_path / name).write_text(words)
    replace = Path.replace

    def failing(self, target):
        if Path(target).name == NAMES[place] and self.read_text() == "new":
            raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises((OSError, KeyboardInterrupt)):
        _write_set(tmp_path, "new")
    assert _files(tmp_path) == old


def test_a_folder_in_the_place_of_a_file_leaves_all_old(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "c.txt").mkdir()
    with pytest.raises(IsADirectoryError):
        _write_set(tmp_path, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "c.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("place", range(3))
def test_ctrl_c_waits_until_all_files_are_in_place_and_says_so(tmp_path, monkeypatch, place):
    (tmp_path / "gone.txt").write_text("old")
    replace = Path.replace

    def interrupted(self, target):
        if Path(target).name == NAMES[place]:
            signal.raise_signal(signal.SIGINT)
        return replace(self, target)

    # A shell's background jobs ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(Path, "replace", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt, match="the files had been written"):
            _write_set(tmp_path, "new")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert _files(tmp_path) == dict.fromkeys(NAMES[:3], "new")


def test_other_threads_write_too(tmp_path):
    thread = threading.Thread(target=_write_set, args=(tmp_path, "new"))
    thread.start()
    thread.join()
    assert _files(tmp_path) == dict.fromkeys(NAMES[:3], "new")


def test_what_a_killed_run_left_goes_once_it_is_old(tmp_path):
    old, young = tmp_path / ".a.txt.01234567.partial", tmp_path / ".a.txt.89abcdef.partial"
    for path in (old, young, tmp_path / ".b.txt.01234567.partial"):
        path.write_text("half")
    os.utime(old, (0, 0))
    write_atomically(tmp_path, {"a.txt": "new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, ".b.txt.01234567.partial", "a.txt"]


def test_the_last_file_is_new_only_where_all_are(tmp_path, monkeypatch):
    (tmp_path / "gone.txt").write_text("old")
    replace, seen = Path.replace, []

    def watched(self, target):
        if Path(target).name == "c.txt":
            seen.append({path.name for path in tmp_path.iterdir() if not path.name.startswith(".")})
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    _write_set(tmp_path, "new")
    assert seen == [{"a.txt", "b.txt"}]
