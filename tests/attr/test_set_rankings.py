"""Rankings from mistakes against correct images, against loops over images."""

import pytest
import torch
from contract.snapshot import nothing_left_behind
from torch import nn
from torch.nn.functional import cross_entropy

from captum_paramsal import ActivationSpectrum, ForwardImpact, LayerError
from captum_paramsal.functional import ochiai, pareto_score, tarantula, wrong_against_right

LAYERS = ("0", "2")


def small_model():
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), nn.Conv2d(5, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip
    return model.double().eval()


IMAGES = torch.randn(13, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
MISTAKES, CORRECT = IMAGES[:5], IMAGES[5:]
LABELS = torch.arange(13) % 4


def means_of(model, image):
    first = model[0](image[None])
    second = model[2](first.relu())
    return torch.cat([first.mean(dim=(2, 3)), second.mean(dim=(2, 3))], dim=1)[0]


@pytest.mark.parametrize("measure", [ochiai, tarantula])
@pytest.mark.parametrize("size", [None, 2])
def test_spectrum_counts_hits_image_by_image(measure, size):
    model = small_model()
    with torch.no_grad():
        correct, mistakes = ([means_of(model, image) for image in images] for images in (CORRECT, MISTAKES))
    threshold = sum(correct) / 8
    hits = [sum((means > threshold).double() for means in rows) for rows in (mistakes, correct)]
    spectrum = ActivationSpectrum(model, measure=measure)
    with nothing_left_behind(model, IMAGES):
        found = spectrum.rank(MISTAKES, CORRECT, internal_batch_size=size)
    torch.testing.assert_close(found.score, measure(*hits, 5, 8))
    assert (found.mistakes, found.correct, len(found.top(3))) == (5, 8, 3)
    assert spectrum.filters[int(found.score.argmax())] == found.top(1)[0]


def test_a_filter_that_only_mistakes_activate_is_first():
    model = small_model()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].weight[3] = 1
    bright, dark = torch.full((4, 3, 8, 8), 2.0).double(), torch.full((6, 3, 8, 8), 1.0).double()
    assert ActivationSpectrum(model, layers="0").rank(bright, dark).top(1)[0].index == 3


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(dim=1))


def test_layers_without_channels_of_their_own_are_refused():
    tokens = torch.rand(3, 5, 4)
    with pytest.raises(LayerError, match=r"to return .* channels, one for each filter|to run in the forward pass"):
        ActivationSpectrum(Heads()).rank(tokens, tokens)


def costs_of(model, images, labels):
    """Gradient loss and forward impact, one image after the other."""
    weights = [model.get_submodule(name).weight for name in LAYERS]
    losses, impacts = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    for image, label in zip(images, labels, strict=True):
        loss = cross_entropy(model(image[None]), label[None])
        highest = model(image[None]).max()
        for summed, of in ((losses, loss), (impacts, highest)):
            for place, gradient in enumerate(torch.autograd.grad(of, weights)):
                summed[place] += gradient / len(images)
    first = [mean.abs().flatten(1).mean(dim=1) for mean in losses]
    second = [(weight * mean).flatten(1).sum(dim=1).abs() for weight, mean in zip(weights, impacts, strict=True)]
    return torch.cat(first).detach(), torch.cat(second).detach()


@pytest.mark.parametrize("size", [None, 3])
def test_forward_impact_is_that_of_single_images(size):
    model = small_model()
    wrong, right = costs_of(model, MISTAKES, LABELS[:5]), costs_of(model, CORRECT, LABELS[5:])
    costs = torch.stack([wrong_against_right(a, b) for a, b in zip(wrong, right, strict=True)], dim=1)
    with nothing_left_behind(model, IMAGES):
        found = ForwardImpact(model).rank(MISTAKES, LABELS[:5], CORRECT, LABELS[5:], internal_batch_size=size)
    torch.testing.assert_close(found.score, pareto_score(costs))
    assert (found.mistakes, found.correct) == (5, 8)


class Video(nn.Module):
    """Frames go through the convolution as images of their own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        maps = self.conv(x.flatten(0, 1)).relu()
        return self.head(maps.mean((2, 3)).view(*x.shape[:2], 4).mean(1))

    def means(self, x):
        return self.conv(x.flatten(0, 1)).mean((2, 3)).view(*x.shape[:2], 4).mean(1)


class TokensFirst(nn.Module):
    """Tokens in dimension 0, as PyTorch's transformers have them by default."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.mix, self.head = nn.Linear(3, 4), nn.TransformerEncoderLayer(4, 2, 8), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.mix(self.conv(x.transpose(0, 1))).mean(0))

    def means(self, x):
        return self.conv(x).mean(1)


@pytest.mark.parametrize(("kind", "shape"), [(Video, (4, 3, 6, 6)), (TokensFirst, (7, 3))])
def test_frames_and_tokens_are_no_images(kind, shape):
    model = kind().double().eval()
    drawn = torch.Generator().manual_seed(2)
    mistakes, correct = (torch.randn(count, *shape, generator=drawn).double() for count in (2, 3))
    found = ActivationSpectrum(model, layers="conv").rank(mistakes, correct)
    with torch.no_grad():
        threshold = model.means(correct).mean(0)
        hits = [(model.means(images) > threshold).double().sum(0) for images in (mistakes, correct)]
    assert (found.mistakes, found.correct) == (2, 3)
    torch.testing.assert_close(found.score, ochiai(*hits, 2, 3))


class Logits(nn.Module):
    """A yes or no by one logit z, or by two, -z/2 and z/2."""

    def __init__(self, count):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 3), nn.Linear(5, 1)
        self.count = count

    def forward(self, x):
        z = 9 * self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))
        z = z - z.detach().new_tensor(-0.3)
        return z if self.count == 1 else torch.cat([-z / 2, z / 2], dim=1)


def test_one_logit_is_ranked_as_two():
    labels = LABELS % 2
    one, two = (
        ForwardImpact(Logits(count).double().eval()).rank(MISTAKES, labels[:5], CORRECT, labels[5:]) for count in (1, 2)
    )
    torch.testing.assert_close(one.score, two.score)
