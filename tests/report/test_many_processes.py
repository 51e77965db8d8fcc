"""Two gloo processes make of the demo what one makes, bit by bit; one that dies ends the other, not the work."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from report import many_processes

pytestmark = pytest.mark.slow
SCRIPT = Path(many_processes.__file__)
NAMES = ["reference", "explain", "pot", "triage", "changed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left of every pass, in the last of which one of them dies."""
    place, size = tmp_path_factory.mktemp("two"), 2
    processes = [
        subprocess.Popen(  # noqa: S603 -- our own script
            [sys.executable, str(SCRIPT), str(place), ",".join([*NAMES, "differs", "dies"])],
            env=os.environ | {"RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]
    printed = [processes[1].communicate(timeout=1200)[0]]
    start = time.monotonic()
    printed.append(processes[0].communicate(timeout=120)[0])
    (place / "waited").write_text(str(time.monotonic() - start))
    assert [process.returncode for process in processes] == [0, -9], printed
    return place


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    # Sums of several threads are rounded differently.
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def as_text(made):
    # Not the values: NaN is not equal to itself.
    return json.dumps(made, default=str)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_make_what_one_makes(name, folder, tmp_path):
    alone = as_text(many_processes.jobs(tmp_path)[name]())
    for rank in range(2):
        assert (folder / f"{name}{rank}.json").read_text() == alone


def test_processes_that_are_asked_for_different_things_stop_before_the_pass(folder):
    message = json.loads((folder / "differs0.json").read_text())
    assert "to have the same number of images, got 60 in process 0 and 59 in process 1" in message


def test_a_process_that_dies_is_an_error_of_the_other_one_soon(folder):
    message = json.loads((folder / "dies0.json").read_text())
    assert message.startswith("GroupError: Expected all processes of the group to answer, but one is gone"), message
    assert float((folder / "waited").read_text()) < 60


def test_what_was_done_before_is_not_done_again(folder):
    before = {file.name: file.stat().st_mtime_ns for file in (folder / "kept").iterdir()}
    # Three turns of both processes, and the fourth of the one that did not die in it.
    assert len(before) == 7
    resumed = as_text(many_processes.sorted_out(folder=folder / "kept"))
    assert resumed == (folder / "triage0.json").read_text()
    after = {file.name: file.stat().st_mtime_ns for file in (folder / "kept").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == 9
