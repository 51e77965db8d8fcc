"""Component attribution against a loop over ablated copies, and where it is exact."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from cases.real_models import cifar10, resnet20
from contract.snapshot import nothing_left_behind
from torch import nn

from captum_paramsal import ComponentAttribution, FewPassesWarning, InputError, InterventionError, ModelError
from captum_paramsal.functional import ablation_groups


def small_model():
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.Conv2d(5, 6, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip
    return model.double().eval()


IMAGES = torch.randn(7, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2])
LAYERS = (("0", 5), ("3", 6))


def margin(model, image, label):
    with torch.no_grad():
        scores = model(image[None])[0].numpy()
    others = np.delete(scores, label)
    return scores[label] - np.log(np.exp(others).sum())


def without(model, filters, *, bias=True):
    """A copy of the model, with the filters of these numbers set to zero."""
    copied = deepcopy(model)
    names = [(layer, index) for layer, count in LAYERS for index in range(count)]
    with torch.no_grad():
        for layer, index in (names[number] for number in filters):
            module = copied.get_submodule(layer)
            module.weight[index] = 0
            if bias and module.bias is not None:
                module.bias[index] = 0
    return copied


def changes_by_copies(model, groups, **options):
    """``(M, N)``, one copied model and one image after the other."""
    rows = []
    for group in groups:
        changed = without(model, group, **options)
        rows.append([margin(changed, x, y) - margin(model, x, y) for x, y in zip(IMAGES, LABELS, strict=True)])
    return np.array(rows)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [None, 3])
def test_with_passes_for_every_filter_the_effects_are_exact(bias, size):
    model = small_model()
    expected = changes_by_copies(model, [[j] for j in range(11)], bias=bias).T
    effects = ComponentAttribution(model, bias=bias).effects(IMAGES, LABELS, internal_batch_size=size)
    np.testing.assert_allclose(effects.scores.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(
        effects.margins.numpy(), [margin(model, x, y) for x, y in zip(IMAGES, LABELS, strict=True)], atol=1e-12
    )
    assert (effects.passes, effects.per_pass) == (11, 1)
    assert effects.reliability.tolist() == [1.0] * 7


@pytest.mark.parametrize(("passes", "ridge"), [(60, 0.3), (8, 0.05)])
@pytest.mark.filterwarnings("ignore::captum_paramsal.FewPassesWarning")
def test_groups_give_what_a_loop_over_copies_and_least_squares_do(passes, ridge):
    model = small_model()
    groups = ablation_groups(11, 4, passes, seed=5).numpy()
    changes = changes_by_copies(model, [row.nonzero()[0] for row in groups])
    weight = np.sqrt(ridge * groups.sum() / 11)
    design = np.vstack([groups.astype(float), weight * np.eye(11)])
    expected = np.linalg.lstsq(design, np.vstack([changes, np.zeros((11, 7))]), rcond=None)[0].T
    components = ComponentAttribution(model, passes=passes, fraction=0.25, ridge=ridge, seed=5)
    np.testing.assert_allclose(components.attribute(IMAGES, LABELS).numpy(), expected, atol=1e-10)


class Additive(nn.Module):
    """Class scores that are sums over filters, with two classes whose log odds are their difference."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        sums = self.conv(x).mean(dim=(2, 3)).unflatten(1, (2, 4))
        return sums.sum(dim=2)


def test_effects_of_groups_are_exact_where_filters_add_up():
    torch.manual_seed(0)
    model = Additive().double().eval()
    exact = ComponentAttribution(model, layers="conv").attribute(IMAGES, target=1)
    effects = ComponentAttribution(model, layers="conv", passes=60, fraction=0.4, ridge=0.0).effects(IMAGES, target=1)
    torch.testing.assert_close(effects.scores, exact)
    torch.testing.assert_close(effects.reliability, torch.ones_like(effects.reliability))
    assert effects.per_pass > 1


def test_a_filter_that_pulls_to_the_mistake_has_an_effect_above_zero():
    model = Additive().eval()
    with torch.no_grad():
        model.conv.weight.zero_()
        model.conv.bias.copy_(torch.tensor([0.0, 3.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]))
    scores = ComponentAttribution(model, layers="conv").attribute(torch.zeros(1, 3, 5, 5), target=1)
    assert scores[0].tolist() == pytest.approx([0, 3, 0, 0, -1, 0, 0, 0], abs=1e-6)


def test_without_a_target_the_class_is_the_prediction_of_the_whole_model():
    model = small_model()
    with torch.no_grad():
        predicted = model(IMAGES).argmax(dim=1)
    components = ComponentAttribution(model)
    assert torch.equal(components.attribute(IMAGES), components.attribute(IMAGES, predicted))


def test_few_passes_are_said_to_be_few():
    components = ComponentAttribution(small_model(), passes=4)
    with pytest.warns(FewPassesWarning, match="11 filters from 4 passes"):
        components.attribute(IMAGES, LABELS)


class Stops(nn.Module):
    """Interrupts the fourth forward pass."""

    def __init__(self):
        super().__init__()
        self.calls = [0]

    def forward(self, x):
        self.calls[0] += 1
        if self.calls[0] == self.stops_at:
            raise KeyboardInterrupt
        return x

    stops_at = -1


def test_an_interruption_leaves_the_weights_as_they_were():
    model = small_model()
    model.append(Stops())
    components = ComponentAttribution(model)
    components.attribute(IMAGES, LABELS)
    model[-1].calls[0], model[-1].stops_at = 0, 9
    with nothing_left_behind(model, IMAGES), pytest.raises(KeyboardInterrupt):
        components.attribute(IMAGES, LABELS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"passes": 1}, "`passes` to be a whole number of at least 2, got 1"),
        ({"fraction": 0.6}, "`fraction` above 0 and at most 0.5, or None, got 0.6"),
        ({"fraction": 0.0}, "got 0.0"),
        ({"ridge": -1.0}, "`ridge` to be a finite number of at least 0, got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        ComponentAttribution(small_model(), **settings)


def test_what_cannot_be_ablated_is_refused():
    model = small_model()
    nn.utils.parametrizations.weight_norm(model[3])
    with pytest.raises(InterventionError, match="computed for each pass"):
        ComponentAttribution(model).attribute(IMAGES, LABELS)
    one_class = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 3)).double()
    with pytest.raises(ModelError, match="two classes or more"):
        ComponentAttribution(one_class).attribute(IMAGES, target=(0, 0, 0))


@pytest.mark.slow
def test_real_filters_in_groups_correlate_with_single_ablations(paramsal_data):
    model = resnet20(paramsal_data)
    images, labels = cifar10(paramsal_data, 40)
    with torch.no_grad():
        wrong = (model(images).argmax(dim=1) != labels).nonzero()[:4, 0]
    images, labels = images[wrong], labels[wrong]
    exact = ComponentAttribution(model).effects(images, labels)
    with pytest.warns(FewPassesWarning, match="688 filters from 500 passes are hardly known"):
        estimated = ComponentAttribution(model, passes=500).effects(images, labels)
    assert (exact.passes, estimated.passes) == (688, 500)
    for one, other in zip(exact.scores, estimated.scores, strict=True):
        assert np.corrcoef(one, other)[0, 1] >= 0.6
