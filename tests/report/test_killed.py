"""A run that is killed between two files of a report, and reports of two kinds: nothing is mixed, nothing lost."""

import multiprocessing
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from report.every_kind import KINDS, strange_report

from captum_paramsal import SourceError

pytestmark = pytest.mark.filterwarnings("ignore:Glyph", "ignore::DeprecationWarning")


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".partial")}


def _die_at(number, report, folder):
    """Write a report, and be killed before the renaming of that number."""
    renames, rename = [], Path.replace

    def counted(self, target):
        # Before that, what lies in files of its own is moved from one partial name to another.
        if not str(target).endswith(".partial"):
            renames.append(target)
            if len(renames) > number:
                os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    Path.replace = counted
    report.write(folder)


def _killed(number, report, folder):
    process = multiprocessing.get_context("fork").Process(target=_die_at, args=(number, report, folder))
    process.start()
    process.join(60)
    return process.exitcode == -signal.SIGKILL


def _loaded(kind, folder):
    """The report, or what is said where it is refused."""
    try:
        return kind.load(folder), ""
    except SourceError as error:
        return None, str(error)


def _torture(kind, folder, numbers):
    old = replace(strange_report(kind))
    new = replace(old, caveats=("written later",), skipped=())
    for report in (old, new):
        # Drawn once: how is not what is tried here.
        object.__setattr__(report, "contents", partial(dict, report.contents()))
    (folder / "new").mkdir()
    new.write(folder / "new")
    for number in numbers:
        place = folder / f"killed {number}"
        old.write(place)
        before = _files(place)
        killed = _killed(number, new, place)
        loaded, refusal = _loaded(type(old), place)
        if loaded is None:
            assert killed
            assert "another report" in refusal
        else:
            assert _files(place) == (_files(folder / "new") if loaded.caveats == new.caveats else before)
        new.write(place)
        assert _files(place) == _files(folder / "new")
        assert type(old).load(place).caveats == new.caveats


def test_killed_between_two_files(tmp_path):
    _torture("explain", tmp_path, range(3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_before_each_file(kind, tmp_path):
    _torture(kind, tmp_path, range(10))


def test_a_report_of_another_kind_is_not_replaced(tmp_path):
    strange_report("explain").write(tmp_path)
    before = _files(tmp_path)
    with pytest.raises(SourceError, match=r"without a report of another kind, got .* with 'explanation.json'"):
        strange_report("triage").write(tmp_path)
    assert _files(tmp_path) == before
    strange_report("explain").write(tmp_path)
