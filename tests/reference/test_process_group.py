"""A pass over two gloo processes gives what one process gives, and says so when one of them fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference.small_pass import loader, model

from captum_paramsal import InputError, Reference
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.reference.data_batches import own_share

SCRIPT = Path(__file__).with_name("small_pass.py")


def run(jobs, folder, size=2):
    """Exit status and output of each process after these passes, one after the other."""
    processes = [
        subprocess.Popen(  # noqa: S603 -- our own script
            [sys.executable, str(SCRIPT), str(folder), jobs],
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]
    printed = [process.communicate(timeout=300)[0] for process in processes]
    return [process.returncode for process in processes], printed


def assert_same_statistics(ours, whole):
    assert (ours.count, ours.filters, ours.fingerprint, ours.loss_name) == (
        whole.count,
        whole.filters,
        whole.fingerprint,
        whole.loss_name,
    )
    assert torch.equal(ours.mean, whole.mean)
    assert torch.equal(ours.std, whole.std)
    assert torch.equal(ours.tail.values, whole.tail.values)
    assert torch.equal(ours.tail.threshold, whole.tail.threshold)
    assert torch.equal(ours.tail.floor, whole.tail.floor)
    theirs = whole.exemplar_table.to_tensors()
    for name, value in ours.exemplar_table.to_tensors().items():
        assert torch.equal(value, theirs[name]), name
    assert ours.exemplar_table.to_dict() == whole.exemplar_table.to_dict()


@pytest.fixture(scope="module")
def whole():
    return Reference.fit(model(), loader(), tail=0.2, exemplars=3, show_progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left of every pass, in the last of which one of them dies."""
    place = tmp_path_factory.mktemp("two")
    codes, printed = run("loader,list,stream,few,raises,differs,shuffled,dies", place)
    assert codes == [0, -9], printed
    return place


@pytest.mark.parametrize("job", ["loader", "list", "stream"])
def test_two_processes_equal_one(job, folder, whole):
    both = [Reference.load(folder / job / f"reference{rank}") for rank in range(2)]
    for one in both:
        assert_same_statistics(one, whole)
    assert torch.equal(both[0].mean, both[1].mean)


def test_a_process_without_any_batch_gets_the_whole_all_the_same(folder):
    few = Reference.fit(model(), loader(3), tail=0.2, exemplars=3, show_progress=False)
    for rank in range(2):
        assert_same_statistics(Reference.load(folder / "few" / f"reference{rank}"), few)


def test_a_process_that_dies_is_an_error(folder):
    message = (folder / "dies" / "error0").read_text()
    assert message.startswith("GroupError: Expected all processes of the group to answer, but one is gone"), message
    assert (folder / "pass.0-of-2").exists()


@pytest.mark.slow
def test_a_process_that_dies_loses_nothing(folder, tmp_path, whole):
    shutil.copy(folder / "pass.0-of-2", tmp_path)
    codes, printed = run("loader", tmp_path)
    assert codes == [0, 0], printed
    assert_same_statistics(Reference.load(tmp_path / "loader" / "reference0"), whole)


def test_an_error_in_one_process_is_told_to_the_other(folder):
    told, own = ((folder / "raises" / f"error{rank}").read_text() for rank in range(2))
    assert own.startswith("TargetError: Batch 3 of the reference set")
    assert told.startswith("GroupError: Expected every process to finish its share")
    assert "process 1 stopped with TargetError: Batch 3" in told


def test_processes_that_ask_for_different_things_stop_before_the_pass(folder):
    message = (folder / "differs" / "error0").read_text()
    assert "to have the same tail, got 0.2 in process 0 and 0.3 in process 1" in message


def test_a_shuffling_loader_is_refused(folder):
    for rank in range(2):
        assert "shuffle=False" in (folder / "shuffled" / f"error{rank}").read_text()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
def test_shares_are_a_partition(size):
    batches = [(torch.full((2, 1), float(number)), torch.zeros(2)) for number in range(11)]
    taken = [float(x[0, 0]) for rank in range(size) for x, _ in own_share(batches, ProcessGroup(rank, size))]
    assert sorted(taken) == list(range(11))
    streamed = [float(x[0, 0]) for rank in range(size) for x, _ in own_share(iter(batches), ProcessGroup(rank, size))]
    assert sorted(streamed) == list(range(11))


def test_a_process_reads_only_its_own_images_from_a_loader():
    read = []

    class Watched(torch.utils.data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, place):
            read.append(place)
            return torch.zeros(1), 0

    batches = list(own_share(torch.utils.data.DataLoader(Watched(), batch_size=2), ProcessGroup(1, 2)))
    assert read == [2, 3, 6, 7]
    assert len(batches) == 2


def test_a_distributed_sampler_is_refused():
    data = torch.utils.data.TensorDataset(torch.zeros(8, 1))
    sampler = torch.utils.data.DistributedSampler(data, num_replicas=2, rank=0)
    with pytest.raises(InputError, match="DistributedSampler, which repeats"):
        own_share(torch.utils.data.DataLoader(data, sampler=sampler), ProcessGroup(0, 2))
