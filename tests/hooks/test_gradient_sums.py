"""Signed sums over groups, against gradients that are taken one example at a time."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from captum_paramsal.functional import coherence
from captum_paramsal.profiles import FilterProfile

# Some of these networks cut layers off on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:No gradient of the loss")


class SharedTwice(nn.Module):
    """A layer that is called twice, a layer without a rule's usual shape, and one that no gradient reaches."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.shared = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.unused = nn.Conv2d(4, 2, 1)
        self.turned = nn.ConvTranspose2d(4, 6, 2, stride=2)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(self.shared(self.shared(x)))
        self.unused(x)
        return self.last(self.turned(x).mean(dim=(2, 3)))


def case(examples=7):
    torch.manual_seed(0)
    model = SharedTwice().double().eval()
    return model, torch.randn(examples, 3, 6, 5).double(), torch.randint(3, (examples,))


def gradients_of(model, image, label, layers):
    weights = [model.get_submodule(name).weight for name in layers]
    loss = cross_entropy(model(image[None]), label[None])
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    grads = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
    # Filters of a transposed convolution are in its weight's second dimension.
    return [
        (g.transpose(0, 1) if isinstance(model.get_submodule(name), nn.ConvTranspose2d) else g).flatten(1)
        for name, g in zip(layers, grads, strict=True)
    ]


@pytest.mark.parametrize("size", [None, 1, 3])
def test_sums_are_those_of_single_examples(size):
    model, images, labels = case()
    profile = FilterProfile(model, ["first", "shared", "unused", "turned"])
    groups = torch.tensor([0, 2, 0, 2, 2, 0, 0])
    sums = profile.gradient_sums(groups, 3, images, labels, internal_batch_size=size)
    names = profile.filters.layers
    single = [gradients_of(model, image, label, names) for image, label in zip(images, labels, strict=True)]
    assert sums.counts.tolist() == [4, 0, 3]
    found = sums.coherence(profile.filters.counts)
    means = sums.mean_profile(profile.filters.counts)
    for group in (0, 2):
        rows = [single[i] for i in range(7) if groups[i] == group]
        expected, magnitudes = [], []
        for place in range(len(names)):
            own = torch.stack([row[place] for row in rows])
            pairs = torch.einsum("ifm,jfm->fij", own, own)
            lengths = pairs.diagonal(dim1=1, dim2=2)
            mutual = (pairs.sum((1, 2)) - lengths.sum(1)) / (len(rows) * (len(rows) - 1))
            expected.append(torch.nan_to_num(mutual / lengths.mean(1)))
            magnitudes.append(own.abs().mean((0, 2)))
        torch.testing.assert_close(found[group], torch.cat(expected))
        torch.testing.assert_close(means[group], torch.cat(magnitudes))
    assert not found[1].any()
    assert not means[1].any()
    together = sums.of_groups([0, 2])
    whole = profile.gradient_sums(torch.zeros(7, dtype=torch.int64), 1, images, labels)
    torch.testing.assert_close(together.coherence(profile.filters.counts), whole.coherence(profile.filters.counts))
    rows = profile(images, labels)
    torch.testing.assert_close(means[[0, 2]], torch.stack([rows[groups == group].mean(dim=0) for group in (0, 2)]))


def test_equal_examples_agree_wholly():
    model, images, labels = case(1)
    profile = FilterProfile(model, ["first"])
    sums = profile.gradient_sums(torch.zeros(5, dtype=torch.int64), 1, images.expand(5, -1, -1, -1), labels.expand(5))
    torch.testing.assert_close(sums.coherence(profile.filters.counts), torch.ones(1, 4).double())


def test_coherence_of_independent_directions_is_nought_on_average():
    torch.manual_seed(1)
    gradients = torch.randn(40, 3000, 5).double()
    found = coherence(gradients.sum(0).square().sum(1), gradients.square().sum((0, 2)), 40)
    assert abs(float(found.mean())) < 4 * float(found.std()) / 3000**0.5
    assert (found >= -1 / 39 - 1e-12).all()


def test_groups_without_examples_take_no_room():
    model, images, labels = case()
    profile = FilterProfile(model, ["first", "shared", "turned"])
    groups = torch.tensor([5, 90, 5, 90, 90, 5, 5])
    parts = [
        profile.gradient_sums(groups[some], 100, images[some], labels[some]) for some in (slice(4), slice(4, None))
    ]
    sums = parts[0] + parts[1]
    assert all(sorted(of_layer) == [5, 90] for of_layer in sums.vectors.values())
    few = profile.gradient_sums((groups == 90).long(), 2, images, labels)
    counts = profile.filters.counts
    torch.testing.assert_close(sums.coherence(counts)[[5, 90]], few.coherence(counts))
    torch.testing.assert_close(sums.of_groups(range(100)).coherence(counts), few.of_groups([0, 1]).coherence(counts))
    assert not sums.coherence(counts)[:5].any()
