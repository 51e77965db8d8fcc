"""The default layers: what a run shows, what a trial run shows before it, and what is said of the rest."""

import pytest
import torch
from oracles.deviation import assert_exact
from torch import nn
from torch.nn import functional

from captum_paramsal import InputSpaceSaliency, ParameterSaliency
from captum_paramsal.errors import DefaultLayersWarning, LayerError, ParamsalError, UnscoredWeightsWarning


def loop(model, x, y, names):
    """Mean absolute gradient of each row of the layers' weights, image by image (in pairs: no batch of one)."""
    weights = [model.get_submodule(name).weight.requires_grad_() for name in names]
    rows = {name: [] for name in names}
    for n in range(len(y)):
        loss = functional.cross_entropy(model(x[[n, n]])[:1], y[n : n + 1])
        for name, gradient in zip(names, torch.autograd.grad(loss, weights), strict=True):
            rows[name].append(gradient.flatten(1).abs().mean(dim=1))
    return {name: torch.stack(values) for name, values in rows.items()}


class Mixer(nn.Module):
    """A Linear layer at places, one across places, one on pooled vectors, and the class scores."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv, self.channels, self.places = nn.Conv2d(3, 6, 3), nn.Linear(6, 6), nn.Linear(16, 16)
        self.squeeze, self.head = nn.Linear(6, 6), nn.Linear(6, classes)

    def forward(self, x):
        tokens = functional.adaptive_avg_pool2d(self.conv(x), 4).flatten(2).transpose(1, 2)
        tokens = self.channels(tokens).tanh()
        tokens = tokens + self.places(tokens.transpose(1, 2)).transpose(1, 2)
        pooled = tokens.mean(1)
        return self.head(pooled * self.squeeze(pooled).sigmoid())


def images(count=3, size=9):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.double)


LABELS = torch.tensor([0, 1, 2])


@pytest.mark.parametrize("first", ["filters", "scores"])
def test_linear_layers_at_places_are_scored(first):
    torch.manual_seed(0)
    model, expected = Mixer().double(), ["conv", "channels", "places"]
    saliency = ParameterSaliency(model)
    if first == "filters":
        assert list(saliency.filters.layers) == expected
    scores = saliency.filters.split(saliency.attribute(images(), target=LABELS))
    assert list(scores) == expected
    assert_exact("mixer", scores, loop(model, images(), LABELS, expected))


class Folded(nn.Module):
    """Windows are examples to its layers, or come last to first."""

    def __init__(self, order):
        super().__init__()
        self.order, self.inner, self.conv, self.head = order, nn.Linear(3, 6), nn.Conv1d(6, 6, 3), nn.Linear(6, 3)

    def forward(self, x):
        windows = x.unfold(2, 3, 3).unfold(3, 3, 3).permute(0, 2, 3, 4, 5, 1)
        if self.order == "windows first":
            windows = windows.transpose(0, 1)
        shape = windows.shape[:3]
        tokens = self.inner(windows.flatten(0, 2).flatten(1, 2)).tanh()
        mixed = self.conv(tokens.transpose(1, 2)).square().mean(2).unflatten(0, shape)
        return self.head(mixed.transpose(0, 1).mean((1, 2)) if self.order == "windows first" else mixed.mean((1, 2)))


@pytest.mark.parametrize("order", ["examples first", "windows first"])
def test_examples_that_are_folded_with_windows(order):
    torch.manual_seed(0)
    model = Folded(order).double()
    saliency = ParameterSaliency(model)
    scores = saliency.filters.split(saliency.attribute(images(), target=LABELS))
    assert_exact(order, scores, loop(model, images(), LABELS, ["inner", "conv"]))
    single = torch.cat([saliency.attribute(images()[n : n + 1], target=n) for n in range(3)])
    torch.testing.assert_close(single, torch.cat(list(scores.values()), dim=1), rtol=1e-10, atol=1e-14)
    assert len(saliency.profiler._plans.latest.functions) == (2 if order == "examples first" else 0)
    pixels = InputSpaceSaliency(saliency, top_k=2)
    both = pixels.attribute(images(), target=LABELS)
    alone = torch.cat([pixels.attribute(images()[n : n + 1], target=n) for n in range(3)])
    torch.testing.assert_close(alone, both, rtol=1e-8, atol=1e-12)


class SamePadding(nn.Conv2d):
    """A convolution with a forward pass of its own, as timm has them."""

    def forward(self, x):
        return functional.conv2d(
            functional.pad(x, (0, 1, 0, 1)), self.weight, bias=self.bias, stride=self.stride, groups=self.groups
        )


class Standardised(nn.Conv2d):
    """Its weight is standardised in each call."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight, self.bias)


@pytest.mark.parametrize("kind", [SamePadding, Standardised])
@pytest.mark.parametrize("bias", [False, True])
def test_subclasses_of_a_convolution(kind, bias):
    torch.manual_seed(0)
    model = nn.Sequential(
        kind(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 4, 3, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).double()
    saliency = ParameterSaliency(model, bias=bias)
    scores = saliency.filters.split(saliency.attribute(images(), target=LABELS))
    rows = loop(model, images(), LABELS, ["0", "2"])
    if bias:
        biases = [model[place].bias.requires_grad_() for place in (0, 2)]
        for n in range(3):
            loss = functional.cross_entropy(model(images()[[n, n]])[:1], LABELS[n : n + 1])
            for name, gradient in zip(("0", "2"), torch.autograd.grad(loss, biases), strict=True):
                width = model[int(name)].weight[0].numel()
                rows[name][n] = (rows[name][n] * width + gradient.abs()) / (width + 1)
    assert_exact(f"{kind.__name__}, bias {bias}", scores, rows)


class TokenScores(nn.Module):
    """Class scores of every token, averaged."""

    def __init__(self):
        super().__init__()
        self.inner, self.same, self.scores = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.scores(self.same(self.inner(x)).tanh()).relu().mean(1)


def test_class_scores_of_tokens_are_left_out():
    model = TokenScores().double()
    saliency = ParameterSaliency(model)
    saliency.attribute(torch.randn(3, 6, 5, dtype=torch.double), target=LABELS)
    assert saliency.filters.layers == ("inner", "same")


def vgg(size=3):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(size), nn.Flatten(), nn.Linear(4 * size * size, 20), nn.ReLU(),
        nn.Linear(20, 3),
    ).double()  # fmt: skip


def test_one_warning_for_what_is_left_out():
    model = vgg()
    saliency = ParameterSaliency(model)
    with pytest.warns(UnscoredWeightsWarning, match=r"leave out 87% of the weights.*layers=\[\.\.\., '3'\]") as caught:
        saliency.attribute(images(), target=LABELS)
    assert len(caught) == 1
    saliency.attribute(images(), target=LABELS)
    assert saliency.filters.layers == ("0",)
    assert ParameterSaliency(model, layers=[..., "3"]).filters.layers == ("0", "3")
    assert ParameterSaliency(model, layers=["...", "3"]).filters.layers == ("0", "3")


def test_no_warning_where_layers_are_named():
    assert ParameterSaliency(vgg(), layers="0").attribute(images(), target=0).shape == (3, 4)


class Undecided(nn.Module):
    """Its Linear layer acts on vectors for small images, and at places for large ones."""

    def __init__(self):
        super().__init__()
        self.conv, self.inner, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        maps = self.conv(x)
        if x.shape[-1] > 32:
            return self.head(self.inner(maps.permute(0, 2, 3, 1)).mean((1, 2)))
        return self.head(self.inner(maps.mean((2, 3))))


@pytest.mark.filterwarnings("ignore::captum_paramsal.errors.UnscoredWeightsWarning")
def test_a_first_run_that_shows_others_than_the_trial():
    saliency = ParameterSaliency(Undecided().double())
    assert saliency.filters.layers == ("conv", "inner")
    with pytest.warns(DefaultLayersWarning, match="'inner' is missing"):
        assert saliency.attribute(images(), target=LABELS).shape == (3, 4)
    assert saliency.filters.layers == ("conv",)


class Picky(nn.Module):
    """Takes two inputs, so no trial run succeeds."""

    def __init__(self):
        super().__init__()
        self.conv, self.inner, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x, scale):
        return self.head(self.inner(self.conv(x).flatten(2).transpose(1, 2)).mean(1) * scale)


def test_a_model_that_no_trial_run_fits():
    saliency = ParameterSaliency(Picky().double())
    with pytest.raises(LayerError, match="Score once first, or name `layers`"):
        len(saliency.filters)
    pixels = InputSpaceSaliency(saliency, top_k=9)
    inputs = (images(), torch.ones(3, 1, dtype=torch.double))
    with pytest.raises(ParamsalError, match="from 1 to 8"):
        pixels.attribute(inputs, target=0)
    assert saliency.filters.layers == ("conv", "inner")


def count(module, *_):
    module.calls.add_(1)


def test_nothing_of_a_trial_run_is_left():
    model = Mixer()
    model.train()
    model.register_buffer("calls", torch.zeros(()))
    model.register_forward_hook(count)
    state = torch.get_rng_state()
    assert len(ParameterSaliency(model).filters) == 28
    assert model.training
    assert model.calls == 0
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["swin_t", "swin_v2_t", "maxvit_t"])
def test_torchvision_transformers_by_head(name):
    models = pytest.importorskip("torchvision.models")
    small = {
        "swin_t": lambda: models.SwinTransformer([4, 4], 8, [2], [2], [4, 4], num_classes=3),
        "swin_v2_t": lambda: models.SwinTransformer(
            [4, 4], 8, [2], [2], [4, 4], num_classes=3, block=models.swin_transformer.SwinTransformerBlockV2,
            downsample_layer=models.swin_transformer.PatchMergingV2,
        ),
        "maxvit_t": lambda: models.MaxVit((32, 32), 8, 4, [8], [1], 4, 0.0, num_classes=3),
    }  # fmt: skip
    torch.manual_seed(0)
    model = small[name]().double().eval()
    x = torch.randn(3, 3, 32, 32, dtype=torch.double)
    saliency = ParameterSaliency(model)
    scores = saliency.attribute(x, target=LABELS)
    parts = saliency.filters.split(scores)
    heads = [str(one) for one in saliency.filters if "[head " in str(one)]
    assert len(heads) == 12
    plain = [n for n, part in parts.items() if len(model.get_submodule(n).weight) == part.shape[1]]
    assert_exact(name, {n: parts[n] for n in plain}, loop(model, x, LABELS, plain))
    for layer in set(parts) - set(plain):
        rows = loop(model, x, LABELS, [layer])[layer]
        torch.testing.assert_close(parts[layer], rows.unflatten(1, (parts[layer].shape[1], -1)).mean(2))
    single = torch.cat([saliency.attribute(x[n : n + 1], target=n) for n in range(3)])
    torch.testing.assert_close(single, scores, rtol=1e-9, atol=1e-13)
