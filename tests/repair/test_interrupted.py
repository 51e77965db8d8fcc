import shutil
from functools import cache

import pytest
import torch
from repair.small_models import Small, batches, labelled, relevant, same, state
from torch.utils.data import DataLoader, TensorDataset

from captum_paramsal.errors import CheckpointError
from captum_paramsal.repair import Constraints, treat

WANTED = Constraints("features.3", relevant())
OPTIONS = {"epochs": 4, "learning_rate": 0.2, "show_progress": False}


class Cut(TensorDataset):
    """Images whose reading is interrupted once, after so many."""

    def __init__(self, *tensors, after):
        super().__init__(*tensors)
        self.after = after

    def __getitem__(self, index):
        self.after -= 1
        if self.after == 0:
            raise KeyboardInterrupt
        return super().__getitem__(index)


def loader(after=-1):
    return DataLoader(Cut(*labelled(24), after=after), 8, shuffle=True)


@cache
def uninterrupted(*, with_validation):
    options = OPTIONS | {"validation_batches": batches(seed=2) if with_validation else None}
    return treat(Small(), loader(), batches(seed=1), WANTED, **options)


@pytest.mark.parametrize("validation", [None, batches(seed=2)])
@pytest.mark.parametrize("after", [10, pytest.param(24 + 10, marks=pytest.mark.slow), 3 * 24 + 5, 4 * 24 + 5])
def test_a_second_call_ends_with_the_same_bits(tmp_path, after, validation):
    """Interrupted while the constraints are measured, or in the first, third or fourth epoch."""
    options = OPTIONS | {"validation_batches": validation}
    whole = uninterrupted(with_validation=validation is not None)
    assert 0 < whole.best_epoch < 3, "no difference between the last weights and the best"
    path, model = tmp_path / "treatment.checkpoint", Small()
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        treat(model, loader(after), batches(seed=1), WANTED, checkpoint=path, **options)
    assert same(state(model), before)
    assert path.exists() == (after > 2 * 24)
    resumed = treat(model, loader(), batches(seed=1), WANTED, checkpoint=path, **options)
    assert same(state(model), before)
    assert same(state(resumed.model)[0], state(whole.model)[0])
    assert resumed.history == whole.history
    assert (resumed.best_epoch, resumed.weights) == (whole.best_epoch, whole.weights)
    assert same(vars(resumed.after), vars(whole.after))
    again = treat(model, [], batches(seed=1), WANTED, checkpoint=path, **options)
    assert same(state(again.model)[0], state(whole.model)[0])


def test_adaptive_optimizers_go_on_too(tmp_path):
    options = OPTIONS | {"optimizer": lambda parameters: torch.optim.AdamW(parameters, 0.01)}
    whole = treat(Small(), loader(), batches(seed=1), **options)
    with pytest.raises(KeyboardInterrupt):
        treat(Small(), loader(2 * 24 + 3), batches(seed=1), checkpoint=tmp_path / "file", **options)
    resumed = treat(Small(), loader(), batches(seed=1), checkpoint=tmp_path / "file", **options)
    assert same(state(resumed.model)[0], state(whole.model)[0])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The checkpoint of a treatment that ran to its end."""
    path = tmp_path_factory.mktemp("finished") / "checkpoint"
    treat(Small(), batches(), batches(seed=1), WANTED, **OPTIONS, checkpoint=path)
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": Small(seed=1)}, "base '[0-9a-f]{16}' instead of"),
        ({"constraints": None}, "constraints {"),
        ({"constraints": Constraints("features.3", ~relevant())}, "'relevant': '"),
        ({"constraints": Constraints("features.3", relevant(), space=2.0)}, "'space': 1.0"),
        ({"learning_rate": 0.01}, "'learning_rate': 0.2"),
        ({"seed": 1}, "'seed': 0"),
        ({"epochs": 9}, "'epochs': 4"),
        ({"allow_worse": True}, "allow_worse False instead of True"),
        ({"validation_batches": batches(seed=2)}, "'held-out' instead of 'validation'"),
        ({"optimizer": torch.optim.Adam}, 'optimizer "SGD'),
    ],
)
def test_a_checkpoint_of_another_treatment_is_refused(finished, tmp_path, changes, said):
    given = {"model": Small(), "train_batches": batches(), "held_out_batches": batches(seed=1), "constraints": WANTED}
    path = shutil.copy(finished, tmp_path)
    with pytest.raises(CheckpointError, match=said):
        treat(**{**given, **OPTIONS, **changes}, checkpoint=path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    treat(Small(), batches(), batches(seed=1), checkpoint=path, **OPTIONS)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        treat(Small(), batches(), batches(seed=1), checkpoint=path, **OPTIONS)
