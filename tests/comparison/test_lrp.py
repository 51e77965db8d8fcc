"""LRP: zennit's own numbers where zennit knows the network, and its rules by hand."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock

from captum_paramsal.comparison import preset
from captum_paramsal.errors import LayerError

composites = pytest.importorskip("zennit.composites", reason="zennit is not installed")

LABELS = torch.tensor([1, 0])
EPSILON = 1e-6


def images(channels=3, size=16):
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def drawn(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make().double()
        # Norms that have seen something.
        model.train()(torch.randn(8, 3, 16, 16, dtype=torch.float64))
        return model.eval()


def zennits(model, canonizers=()):
    batch = images().requires_grad_()
    with composites.EpsilonPlusFlat(canonizers=list(canonizers)).context(model) as changed:
        scores = changed(batch)
        start = torch.zeros_like(scores).scatter(1, LABELS[:, None], scores.detach().gather(1, LABELS[:, None]))
        return torch.autograd.grad(scores, batch, start)[0]


def plain():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, bias=False),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 3),
    )


def test_zennits_numbers_on_a_plain_network():
    model = drawn(plain)
    torch.testing.assert_close(preset("lrp", model)(images(), target=LABELS), zennits(model))


def blocks():
    norm = partial(nn.BatchNorm2d, eps=1e-30)
    shortcut = nn.Sequential(nn.Conv2d(4, 6, 1, stride=2, bias=False), norm(6))
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        norm(4),
        nn.ReLU(inplace=True),
        BasicBlock(4, 4, norm_layer=norm),
        BasicBlock(4, 6, 2, shortcut, norm_layer=norm),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def test_zennits_numbers_on_a_resnet():
    # In some versions the norms that zennit has merged still divide by the root of 1 + eps.
    zoo = pytest.importorskip("zennit.torchvision")
    model = drawn(blocks)
    found = preset("lrp", model)(images(), target=LABELS)
    torch.testing.assert_close(found, zennits(model, [zoo.ResNetCanonizer()]), rtol=1e-6, atol=1e-9)


class Functions(nn.Module):
    """A residual network whose sums, means and activations are functions."""

    def __init__(self):
        super().__init__()
        self.one, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.two, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        y = functional.relu(self.norm(self.one(x)))
        return self.head(functional.relu(self.two(y) + y).mean((2, 3)))


def away(values):
    return values + EPSILON * torch.where(values >= 0, 1.0, -1.0)


def positive(conv_weight, bias, given, relevance):
    """Alpha 1, beta 0: what adds to a sum, by its share of all that adds, biases among it."""
    result = torch.zeros_like(given)
    padded = functional.pad(given, (1, 1, 1, 1))
    back = torch.zeros_like(padded)
    for o in range(len(conv_weight)):
        for i in range(given.shape[1]):
            for j in range(given.shape[2]):
                part = conv_weight[o] * padded[:, i : i + 3, j : j + 3]
                total = part.clamp(min=0).sum() + max(0.0, float(bias[o]))
                back[:, i : i + 3, j : j + 3] += part.clamp(min=0) / away(total) * relevance[o, i, j]
    result[:] = back[:, 1:-1, 1:-1]
    return result


def by_hand(model, image, label):
    scale = model.norm.weight / (model.norm.running_var + model.norm.eps).sqrt()
    weight, bias = model.one.weight * scale[:, None, None, None], model.norm.bias - model.norm.running_mean * scale
    y = functional.conv2d(image[None], weight, bias, padding=1)[0].relu()
    z = model.two(y[None])[0]
    whole = (z + y).relu()
    pooled = whole.mean((1, 2))
    score = model.head.weight[label] @ pooled + model.head.bias[label]
    relevance = model.head.weight[label] * pooled / away(score) * score
    relevance = whole / whole[0].numel() * (relevance / away(pooled))[:, None, None]
    of_z, of_y = (part / away(z + y) * relevance for part in (z, y))
    relevance = of_y + positive(model.two.weight, model.two.bias, y, of_z)
    # The first layer spreads evenly over what each output sees, zeros of the padding among it.
    result = torch.zeros(3, image.shape[1] + 2, image.shape[2] + 2, dtype=torch.float64)
    seen = functional.conv2d(torch.ones_like(image)[None], torch.ones(1, 3, 3, 3).double(), padding=1)[0, 0]
    for i in range(image.shape[1]):
        for j in range(image.shape[2]):
            result[:, i : i + 3, j : j + 3] += relevance[:, i, j].sum() / away(seen[i, j])
    return result[:, 1:-1, 1:-1]


def test_its_rules_by_hand():
    model = drawn(Functions)
    batch = images(size=6)
    with torch.no_grad():
        expected = torch.stack([by_hand(model, image, label) for image, label in zip(batch, [1, 0], strict=True)])
    found = preset("lrp", model)(batch, target=LABELS)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_relevance_sums_up_to_the_score_without_biases():
    # But for epsilon, which counts where sums are small.
    model = drawn(Functions)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        model.norm.running_mean.zero_()
    scores = model(images()).gather(1, LABELS[:, None])[:, 0].detach()
    sums = preset("lrp", model)(images(), target=LABELS).sum(dim=(1, 2, 3))
    torch.testing.assert_close(sums, scores, rtol=0.01, atol=1e-5)


def test_a_single_logit_is_the_score_of_two_classes():
    model = drawn(lambda: nn.Sequential(*plain()[:-1], nn.Linear(20, 1)))
    two = nn.Sequential(*model[:-1], nn.Linear(20, 2).double()).eval()
    with torch.no_grad():
        two[-1].weight.copy_(torch.cat([-model[-1].weight, model[-1].weight]) / 2)
        two[-1].bias.copy_(torch.cat([-model[-1].bias, model[-1].bias]) / 2)
    expected = preset("lrp", two)(images(), target=LABELS)
    torch.testing.assert_close(preset("lrp", model)(images(), target=LABELS), expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([nn.GroupNorm(1, 4)], "group_norm in '1'"),
        ([nn.ReLU(), nn.BatchNorm2d(4)], "batch_norm in '2'"),
        ([nn.Softmax(dim=1)], "softmax"),
    ],
)
def test_networks_with_other_operations_are_refused(layers, words):
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    model = drawn(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), *layers, *head))
    with pytest.raises(LayerError, match=f"'lrp' has rules for .*, got {words}.*Take 'input_x_gradient'"):
        preset("lrp", model)(images(), target=LABELS)
