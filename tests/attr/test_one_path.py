"""One path of discernible neurons equals that of a second reference, and one that was worked by hand."""

import pytest
import torch
from cases import real_models as real
from oracles import one_path
from torch import nn
from torchvision.models.squeezenet import Fire

from captum_paramsal import DiscernibleNeurons, TraceWeights

READINGS = pytest.mark.parametrize("through", [False, True])


def package_path(model, image, label, preceding, through):
    weights = TraceWeights(1.0, preceding, 1.0)
    neurons = DiscernibleNeurons(model, weights, linear_top_k=1, places=1, through_maxima=through)
    layers = neurons.trace(image[None], torch.tensor([label])).layers
    sizes = {name: 1 if isinstance(model.get_submodule(name), nn.Linear) else 3 for name in list(layers)[1:-1]}
    return [
        (name, (int(layer.channel), int(layer.y), int(layer.x))[: sizes.get(name)])
        for name, layer in layers.items()
        if name != "output" and len(layer)
    ]


def places(path):
    """Of the image the place alone: which colour it is depends on whether those below 0 are candidates."""
    return [(name, place[1:] if name == "input" else place) for name, place in path]


def network(seed, groups):
    """Convolutions in groups with gains of either sign, pools, concatenated branches and linear layers."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(8, 8, 3, padding=1, groups=groups), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    layers += [Fire(8, 4, 4, 4), nn.MaxPool2d(2, 1), nn.Conv2d(8, 8, 2, groups=groups), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 3)]
    model = nn.Sequential(*layers).double().eval().requires_grad_(requires_grad=False)
    for norm in (model[1], model[5]):
        norm.weight.normal_(mean=0.5)
        norm.bias.uniform_(0, 1)
        norm.running_mean.normal_(std=0.2)
        norm.running_var.uniform_(0.5, 2)
    return model, torch.rand(3, 14, 14, dtype=torch.float64)


@READINGS
@pytest.mark.parametrize(("groups", "preceding"), [(1, 0.5), (2, 0.5), (2, 2.0), (4, 2.0)])
def test_one_path(groups, preceding, through):
    whole = 0
    for seed in range(2):
        model, image = network(seed, groups)
        label = int(model(image[None]).argmax())
        wanted = one_path.path(one_path.chain(model, image), label, preceding, through=through)
        got = package_path(model, image, label, preceding, through)
        whole += wanted[-1][0] == "input"
        # Where the reference has no candidate that is on, the package goes on with others.
        assert places(got[: len(wanted)]) == places(wanted)
    assert whole, "no path to the image"


def worked():
    """The example of ``docs/methods/discernible_neurons.md``."""
    model = nn.Sequential(
        nn.Conv2d(4, 4, 1, groups=2, bias=False),
        nn.BatchNorm2d(4, eps=0.0),
        nn.ReLU(),
        nn.MaxPool2d((1, 2)),
        nn.Flatten(),
        nn.Linear(4, 1, bias=False),
    ).double()
    model.eval().requires_grad_(requires_grad=False)
    model[0].weight.copy_(torch.tensor([[2.0, -1], [1, 1], [1, 2], [-3, 1]])[:, :, None, None])
    model[1].weight.copy_(torch.tensor([1.0, 2, 0.5, -1]))
    model[5].weight.copy_(torch.tensor([[2.0, 0.8, 1, 1.7]]))
    image = torch.tensor([[3.0, 1], [1, 4], [2, 2], [5, 1]], dtype=torch.float64).reshape(1, 4, 1, 2)
    return model, image


@pytest.mark.parametrize(
    ("through", "supports", "selected", "pixel"),
    [(False, [5, 10, 6, 5], 1, (1, 0, 1)), (True, [6, 8, 5, 6], 0, (0, 0, 0))],
)
def test_worked_by_hand(through, supports, selected, pixel):
    model, image = worked()
    weights = TraceWeights(1.0, 0.5, 1.0)
    every = DiscernibleNeurons(model, weights, linear_top_k=None, through_maxima=through).trace(image, 0)
    pooled = every.layers["0"]
    order = pooled.channel.argsort()
    torch.testing.assert_close(pooled.current[order], torch.tensor([10, 8, 6, 8.5], dtype=torch.float64))
    torch.testing.assert_close(pooled.preceding[order], torch.tensor(supports, dtype=torch.float64))
    score = torch.tensor([10, 8, 6, 8.5], dtype=torch.float64) + 0.5 * torch.tensor(supports, dtype=torch.float64)
    torch.testing.assert_close(pooled.score[order], score)
    one = DiscernibleNeurons(model, weights, linear_top_k=1, through_maxima=through).trace(image, 0)
    assert one.layers["0"].channel.tolist() == [selected]
    last = one.layers["input"]
    assert (int(last.channel), int(last.y), int(last.x)) == pixel
    wanted = one_path.path(one_path.chain(model, image[0]), 0, 0.5, through=through)
    assert wanted == [("5", (0,)), ("0", (selected, 0, pixel[2])), ("input", pixel)]


def test_a_maximum_of_two_maps():
    class Larger(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(1, 2, 1, bias=True)
            self.head = nn.Linear(2, 1, bias=False)

        def forward(self, x):
            return self.head(torch.maximum(self.one(x), self.other(x)).amax((2, 3)))

    model = Larger().double().requires_grad_(requires_grad=False)
    model.one.weight.copy_(torch.tensor([2.0, 1])[:, None, None, None])
    model.other.weight.copy_(torch.tensor([1.0, 3])[:, None, None, None])
    model.other.bias.copy_(torch.tensor([0.0, 4.0]))
    model.head.weight.fill_(1)
    image = torch.tensor([[[[1.0, 2]]]], dtype=torch.float64)
    for through, supports in ((False, [4.0, 10.0]), (True, [4.0, 6.0])):
        neurons = DiscernibleNeurons(model, linear_top_k=None, through_maxima=through).trace(image, 0)
        found = {name: layer.preceding.tolist() for name, layer in neurons.layers.items() if name in {"one", "other"}}
        assert found == {"one": supports[:1], "other": supports[1:]}


@pytest.mark.data
@pytest.mark.slow
@READINGS
@pytest.mark.parametrize("preceding", [0.0, 0.5])
def test_squeezenet(paramsal_data, preceding, through):
    images, _ = real.imagenet(paramsal_data, 3)
    model = real.squeezenet(paramsal_data).double().requires_grad_(requires_grad=False)
    for image in images.double():
        last = one_path.chain(model, image)
        label = int(last.value.argmax())
        wanted = one_path.path(last, label, preceding, through=through)
        assert wanted[-1][0] == "input"
        assert places(package_path(model, image, label, preceding, through)) == places(wanted)
