import pytest
import torch
from repair.small_models import CLASSES, Small, batches, labelled, relevant, same, state
from torch import nn

from captum_paramsal.errors import InputError, LayerError, TargetError, TreatmentError
from captum_paramsal.repair import Constraints, treat

WANTED = Constraints("features.3", relevant())


def refused(error, said, model=None, *, train=None, held_out=None, wanted=WANTED, **options):
    model = Small() if model is None else model
    before = state(model)
    chosen = {"epochs": 2, "show_progress": False} | options
    with pytest.raises(error, match=said):
        treat(
            model,
            batches() if train is None else train,
            batches(seed=1) if held_out is None else held_out,
            wanted,
            **chosen,
        )
    assert same(state(model), before)


def broken(number, **changes):
    """Batches of which one is changed."""
    found = batches()
    names = ("images", "labels", "foreground")
    found[number] = tuple(changes.get(name, part) for name, part in zip(names, found[number], strict=True))
    return found


def test_a_loss_that_is_no_longer_finite_stops_and_says_where():
    poisoned = broken(1, images=torch.full((8, 2, 6, 6), torch.nan))
    refused(
        TreatmentError,
        r"got loss nan, total nan in epoch 1, step 2 of 3. The given model is as it was",
        train=poisoned,
        wanted=None,
    )
    late = [*batches(count=8 * 8), broken(1, images=torch.full((8, 2, 6, 6), torch.nan))[1]]
    said = r"got loss nan, channel \S+, space \S+, total nan in epoch 1, step 9 of 9"
    refused(TreatmentError, said, train=late)
    refused(
        TreatmentError, "channel .* before the treatment", train=broken(1, images=torch.full((8, 2, 6, 6), torch.nan))
    )
    with torch.no_grad():
        ill = Small()
        ill.classifier.bias[0] = torch.nan
    refused(TreatmentError, "validation loss nan after epoch 0", ill, wanted=None)


def test_a_learning_rate_that_is_too_high():
    refused(TreatmentError, "Lower the learning rate", learning_rate=1e30)


@pytest.mark.parametrize("which", ["train", "held_out", "validation_batches"])
def test_batches_that_are_empty_or_come_once(which):
    name = {"train": "training", "held_out": "held-out", "validation_batches": "validation"}[which]
    refused(InputError, f"at least one batch in the {name} batches", wanted=None, **{which: []})
    argument = which if which.endswith("batches") else f"{which}_batches"
    refused(InputError, f"`{argument}` to be batches that can be gone .* got list_iterator", **{which: iter(batches())})
    refused(InputError, "got int", **{which: 3})


def test_no_training_batches_for_a_constraint():
    refused(InputError, "at least one batch in the training batches", train=[])


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"labels": torch.full((8,), 3)}, TargetError, "Batch 1 of the training batches: .* from 0 to 2, got 3"),
        ({"labels": torch.full((8,), -1)}, TargetError, "from 0 to 2, got -1 for example 0"),
        ({"labels": torch.zeros(7).long()}, TargetError, r"one class per example.*\(8,\).* shape \(7,\)"),
        ({"labels": torch.zeros(8)}, TargetError, "got torch.float32"),
        ({"labels": None}, InputError, "Batch 1 of the training batches: .*got no labels"),
        ({"foreground": torch.ones(8, 6)}, InputError, r"Batch 1 .*`foreground` .* got shape \(8, 6\)"),
        ({"foreground": torch.ones(7, 6, 6)}, InputError, r"one mask for each of 8 images, got shape \(7, 6, 6\)"),
        ({"foreground": 2 * torch.ones(8, 6, 6)}, InputError, r"in \[0, 1\], got values from 2 to 2"),
        ({"foreground": [1]}, InputError, "as a tensor, got list"),
        ({"images": torch.ones(0, 2, 6, 6)}, InputError, r"inputs of shape \(0, 2, 6, 6\)"),
        ({"images": torch.ones(8, 3, 6, 6)}, InputError, r"Batch 1 .*its forward pass failed on shape \(8, 3, 6, 6\)"),
        ({"images": [1]}, InputError, "inputs a tensor, got 3 items"),
    ],
)
def test_one_batch_that_does_not_fit(changes, error, said):
    refused(error, said, train=broken(1, **changes))
    if "foreground" not in changes:
        refused(error, said.replace("training", "held-out"), held_out=broken(1, **changes))


def test_batches_that_are_no_pairs():
    refused(InputError, "Batch 0 of the training batches: .*got Tensor", train=[labelled()[0]])
    refused(InputError, "got 1 items", held_out=[labelled()[:1]])


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [
        (Constraints("features.9"), LayerError, "a layer of the model, got 'features.9'; nearest"),
        (Constraints("classifier"), LayerError, r"tokens \(N, T, K\), got shape \(8, 3\)"),
        (Constraints("features.3", relevant()[:2]), InputError, r"of shape \(3, 5\), got \(2, 5\)"),
        (Constraints("features.0", relevant()), InputError, r"of shape \(3, 4\), got \(3, 5\)"),
    ],
)
def test_constraints_that_do_not_fit_the_model(wanted, error, said):
    refused(error, said, wanted=wanted)


class Again(Small):
    def forward(self, images):
        return self.classifier(
            self.features[3](self.features[:3](images)).mean(dim=(2, 3)) + self.features(images).mean(dim=(2, 3))
        )


class Scoreless(Small):
    def forward(self, images):
        return self.features(images)


def test_models_that_do_not_fit():
    refused(LayerError, "'features.3' to be called once", Again())
    refused(InputError, r"returns class scores \(8, C\), one row per example, got \(8, 5, 6, 6\)", Scoreless())
    refused(TreatmentError, "none requires a gradient", Small().requires_grad_(requires_grad=False))
    uncopied = Small()
    uncopied.features[3].extra = uncopied.features[3].weight * 2
    with pytest.raises(TreatmentError, match="can be copied"):
        treat(uncopied, batches(), batches(), show_progress=False)


def test_a_constraint_that_cannot_act_is_refused():
    fixed = Small()
    fixed.classifier.requires_grad_(requires_grad=False)
    refused(TreatmentError, "a channel constraint that depends on what is trained", fixed)
    linear = nn.Sequential(nn.Conv2d(2, CLASSES, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    marks = torch.eye(CLASSES, dtype=torch.bool)
    refused(TreatmentError, "fixed function of the maps of '0'", linear, wanted=Constraints("0", marks))
    refused(TreatmentError, "fixed function of the maps of '0'", linear, wanted=Constraints("0", marks, relative=False))


@pytest.mark.parametrize("relative", [True, False])
def test_a_constraint_that_is_zero_is_refused(relative):
    plain = [part[:2] for part in batches()]
    refused(
        TreatmentError,
        r"a space constraint above 0, .* `space=0`",
        train=plain,
        wanted=Constraints("features.3", relative=relative),
    )
    covered = [(images, labels, torch.ones_like(mask)) for images, labels, mask in batches()]
    refused(TreatmentError, "no batch .* has a background", train=covered, wanted=Constraints("features.3", relevant()))
    dead = Small()
    with torch.no_grad():
        dead.features[3].bias.fill_(-1e4)
    refused(TreatmentError, r"a channel constraint above 0, .* `channel=0`", dead)


def test_a_loss_of_zero_is_no_yardstick():
    sure = Small()
    with torch.no_grad():
        sure.classifier.bias.copy_(torch.tensor([1e4, 0.0, 0.0]))
    zeros = [(images, torch.zeros_like(labels), mask) for images, labels, mask in batches()]
    refused(TreatmentError, "`relative=False`", sure, train=zeros)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "`epochs` to be a whole number of at least 1, got 0"),
        ({"epochs": 1.5}, "got 1.5"),
        ({"learning_rate": -1.0}, "`learning_rate` to be a number from 0 on, got -1.0"),
        ({"momentum": float("nan")}, "`momentum` to be a number from 0 on, got nan"),
        ({"weight_decay": float("inf")}, "`weight_decay` to be a number from 0 on, got inf"),
    ],
)
def test_schedules_that_are_none(options, said):
    refused(InputError, said, **options)


def test_held_out_images_that_change_are_noticed():
    class Changing:
        def __init__(self):
            self.turn = 0

        def __iter__(self):
            self.turn += 1
            images, labels, _ = labelled(8)
            yield images, labels.roll(self.turn)

    refused(InputError, "other labels. Give a loader", held_out=Changing(), validation_batches=batches(seed=2))
