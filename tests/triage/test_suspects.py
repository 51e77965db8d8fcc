"""Four kinds of evidence against every filter, each against a literal twin, and fused."""

import copy
import math

import pytest
import torch
from scipy.stats import rankdata
from torch import nn

from captum_paramsal import InputError, Reference
from captum_paramsal.functional import peer_deviation, statistics_drift
from captum_paramsal.triage import rank_suspects, set_saliency


class Block(nn.Module):
    """A norm behind the first convolution, none behind the second, and one that reads a sum."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.conv2, self.norm2 = nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.conv3 = nn.Conv2d(5, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm1(self.conv1(x)).relu()
        x = self.norm2(self.conv2(x) + x).relu()
        return self.head(self.conv3(x).relu().mean(dim=(2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(3)
    net = Block().double()
    net.train()(torch.randn(40, 3, 8, 8, dtype=torch.float64))
    return net.eval()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(4)
    wrong, right = (torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64) for count in (20, 30))
    return wrong, torch.arange(20) % 3, right, torch.arange(30) % 3


def found(model, images, **options):
    return rank_suspects(model, *images, show_progress=False, **options)


def margins(model, images, labels):
    scores = model(images)
    others = [scores[:, [c for c in range(3) if c != label]][row] for row, label in enumerate(labels.tolist())]
    return torch.stack([scores[row, label] for row, label in enumerate(labels.tolist())]) - torch.stack(
        [other.logsumexp(dim=0) for other in others]
    )


def test_effect_is_that_of_each_filter_set_to_zero_on_mistakes_from_all_over_the_set(model, images):
    suspects = found(model, images)
    spread = torch.linspace(0, 19, 12).round().long()
    wrong, labels = images[0][spread], images[1][spread]
    assert suspects.ablated_mistakes == 12
    for place, one in enumerate(suspects.filters):
        other = copy.deepcopy(model)
        layer = other.get_submodule(one.layer)
        with torch.no_grad():
            layer.weight[one.index], layer.bias[one.index] = 0, 0
            change = margins(other, wrong, labels) - margins(model, wrong, labels)
        assert suspects.effect[place] == pytest.approx(float(change.mean()), abs=1e-12)


def test_drift_is_that_of_the_norm_that_reads_the_layer_alone(model, images):
    suspects = found(model, images, ablations=0)
    with torch.no_grad():
        got = model.conv1(images[2]).movedim(1, 0).flatten(1)
    norm = model.norm1
    for channel in range(5):
        ratio = (got[channel].var(correction=0) + norm.eps) / (norm.running_var[channel] + norm.eps)
        shift = (got[channel].mean() - norm.running_mean[channel]) ** 2 / (norm.running_var[channel] + norm.eps)
        expected = 0.5 * (float(ratio) + float(shift) - 1 - math.log(ratio))
        assert suspects.drift[channel] == pytest.approx(expected, rel=1e-9)
    assert suspects.drift[5:].isnan().all(), "a norm that reads a sum is nobody's own"
    in_parts = found(model, images, ablations=0, internal_batch_size=7)
    torch.testing.assert_close(in_parts.drift, suspects.drift, equal_nan=True)


def test_deviation_and_saliency(model, images):
    suspects = found(model, images, ablations=0)
    place = 0
    for name in ("conv1", "conv2", "conv3"):
        logs = model.get_submodule(name).weight.flatten(1).norm(dim=1).log().double()
        median = logs.sort().values[len(logs) // 2] if len(logs) % 2 else logs.sort().values[1:3].mean()
        away = (logs - median).abs()
        ordered = away.sort().values
        usual = ordered[len(away) // 2] if len(away) % 2 else ordered[1:3].mean()
        torch.testing.assert_close(suspects.deviation[place : place + len(logs)], (away / usual).detach())
        place += len(logs)
    reference = Reference.fit(model, [images[2:]], show_progress=False)
    twin = set_saliency(model, *images[:2], reference)
    torch.testing.assert_close(suspects.saliency.score, twin.score)
    assert torch.equal(found(model, images, ablations=0, reference=reference).score, suspects.score)


def test_ranks_are_fused_and_what_is_not_known_is_in_the_middle(model, images):
    suspects = found(model, images, ablations=6)
    assert int((~suspects.effect.isnan()).sum()) == 6
    before = found(model, images, ablations=0)
    assert before.effect.isnan().all()
    assert sorted(before.score.argsort(descending=True, stable=True)[:6].tolist()) == sorted(
        (~suspects.effect.isnan()).nonzero()[:, 0].tolist()
    )
    fused = torch.zeros(len(suspects.filters), dtype=torch.float64)
    for values in (suspects.saliency.score[0], suspects.effect, suspects.drift, suspects.deviation):
        known = torch.where(values.isnan(), values.nanmedian(), values)
        fused += torch.from_numpy(1 / (10 + rankdata(-known.numpy())))
    torch.testing.assert_close(suspects.score, fused)
    table = suspects.to_table(3)
    assert [row["filter"] for row in table] == [str(one) for one in suspects.top(3)]
    assert str(suspects.top(1)[0]) in str(suspects)


def test_a_filter_of_zeros_is_among_the_first_although_no_gradient_tells(model, images):
    with torch.no_grad():
        model.conv1.weight[2] = 0
        model.conv1.bias[2] = -50
    suspects = found(model, images)
    assert suspects.drift.nan_to_num().argmax() == 2
    assert suspects.deviation.argmax() == 2
    assert "conv1[2]" in map(str, suspects.top(3))


def test_the_model_is_left_as_it_is(model, images):
    before = copy.deepcopy(model.state_dict())
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    found(model.train(), images)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert hooks == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]


@pytest.mark.parametrize("ablations", [-1, 2.5, "all"])
def test_ablations_out_of_range(model, images, ablations):
    with pytest.raises(InputError, match=f"`ablations` to be a whole number of at least 0, got {ablations!r}"):
        found(model, images, ablations=ablations)


def test_one_mistake_is_too_few(model, images):
    with pytest.raises(InputError, match="at least two images"):
        found(model, (images[0][:1], images[1][:1], *images[2:]))


def test_equations():
    sizes = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 3.0, 3.0, 3.0, 5.0])
    assert peer_deviation(sizes, [5, 4]).tolist() == pytest.approx([2, 1, 0, 1, 2, 0, 0, 0, 0])
    mean, variance, kept = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0.5])
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, variance.sqrt()), normal(kept, torch.tensor([2.0])))
    torch.testing.assert_close(statistics_drift(mean, variance, kept, torch.tensor([4.0])), expected)
