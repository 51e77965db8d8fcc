"""What was planned with one batch is held against what runs for another: other ways, exchanged and hidden layers."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from captum_paramsal import InputSpaceSaliency, ParameterSaliency, Reference
from captum_paramsal.errors import CutOffLayersWarning, LayerError, ModelError

LABELS = torch.tensor([0, 1, 2, 0])


def images(side=9, seed=0):
    return torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop(model, x, names, labels=LABELS):
    """Mean absolute weight gradient per filter, image by image."""
    weights = [model.get_submodule(name).weight.requires_grad_(True) for name in names]
    rows = []
    for n in range(len(x)):
        loss = functional.cross_entropy(model(x[n : n + 1]), labels[n : n + 1])
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        rows.append(
            torch.cat(
                [
                    torch.zeros(len(w)).double() if g is None else g.abs().flatten(1).mean(1)
                    for w, g in zip(weights, gradients, strict=True)
                ]
            )
        )
    return torch.stack(rows)


class TwoWays(nn.Module):
    """A second convolution on condition."""

    def __init__(self, condition, use=lambda layer, z: layer(z)):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 3)
        self.condition, self.use = condition, use

    def forward(self, x):
        z = self.a(x).relu()
        if self.condition(z):
            z = self.use(self.b, z).relu()
        return self.head(z.mean((2, 3)))


@pytest.mark.parametrize(
    "use",
    [lambda layer, z: layer(z), lambda layer, z: functional.conv2d(z, layer.weight, layer.bias, padding=1)],
    ids=["called", "its weight alone"],
)
def test_sizes_go_different_ways(use):
    model = TwoWays(lambda z: z.shape[-1] > 12, use).double().eval()
    saliency = ParameterSaliency(model)
    # To and fro: the plan of each size is kept, and held against what runs.
    for x in (images(), images(24), images(), images(16), images(24)):
        torch.testing.assert_close(saliency.attribute(x, target=LABELS), loop(model, x, ["a", "b"]))


@pytest.mark.parametrize("look", [bool, torch.Tensor.item, torch.Tensor.tolist])
def test_images_go_different_ways(look):
    model = TwoWays(lambda z: look((z.mean((1, 2, 3)) < 0.35).any())).double().eval()
    easy, hard = 3 * images(seed=1)[:2], 0.05 * images(seed=2)[:2]
    for x in (torch.cat([easy, hard]), torch.cat([hard, easy]), torch.cat([hard, hard])):
        torch.testing.assert_close(ParameterSaliency(model).attribute(x, target=LABELS), loop(model, x, ["a", "b"]))
    saliency = ParameterSaliency(model)
    alone = [saliency.attribute(one[None], target=int(label)) for one, label in zip(x, LABELS, strict=True)]
    torch.testing.assert_close(torch.cat(alone), loop(model, x, ["a", "b"]))


def test_a_switch_between_calls_and_a_way_drawn_by_lot():
    switch = [False]
    model = TwoWays(lambda _: switch[0]).double().eval()
    saliency, x = ParameterSaliency(model), images()
    for switch[0] in (False, True, False):
        torch.testing.assert_close(saliency.attribute(x, target=LABELS), loop(model, x, ["a", "b"]))
    lots = np.random.default_rng(0)
    unsteady = TwoWays(lambda _: lots.random() < 0.5).double().eval()

    def until_two_runs_differ_twice():
        for _ in range(50):
            ParameterSaliency(unsteady).attribute(x[:1], target=0)

    with pytest.raises(ModelError, match="goes the same way for the same example, but b: took part in one run"):
        until_two_runs_differ_twice()


def test_exchanged_layers_are_followed_or_refused():
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model, x = nn.Sequential(*layers, nn.Linear(5, 3)).double().eval(), images()
    saliency = ParameterSaliency(model)
    saliency.attribute(x, target=LABELS)
    model[2] = nn.Conv2d(6, 5, 3).double()
    torch.testing.assert_close(saliency.attribute(x, target=LABELS), loop(model, x, ["0", "2"]))
    model[2], model[6] = nn.Conv2d(6, 7, 3).double(), nn.Linear(7, 3).double()
    with pytest.raises(LayerError, match="layers of the model were exchanged since and"):
        saliency.attribute(x, target=LABELS)


@pytest.mark.parametrize("around", ["a", "b", "ab"])
@pytest.mark.parametrize("reentrant", [False, True], ids=["kept graph", "reentrant"])
@pytest.mark.parametrize("layers", [None, "b"])
def test_checkpointed_blocks_change_no_score(around, reentrant, layers):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 3)

        def forward(self, x):
            for name in "ab":
                layer = getattr(self, name)
                block = lambda z, layer=layer: layer(z).relu()  # noqa: E731
                x = checkpoint(block, x, use_reentrant=reentrant) if name in around and self.remade else block(x)
            return self.head(x.mean((2, 3)))

    model, x = Net().double().eval(), images()
    model.remade = False
    wanted = loop(model, x, ["a", "b"])[:, 0 if layers is None else 6 :]
    model.remade = True
    with warnings.catch_warnings():
        # PyTorch's own, of inputs without a gradient: they get one in a second try.
        warnings.filterwarnings("ignore", message="None of the inputs have requires_grad")
        scores = ParameterSaliency(model, layers=layers).attribute(x, target=LABELS)
    torch.testing.assert_close(scores, wanted)
    assert all(parameter.grad is None for parameter in model.parameters())


class Probe(nn.Module):
    """A trunk that is cut off."""

    def __init__(self, cut):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.last, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 3), nn.Linear(5, 3)
        self.cut = cut

    def forward(self, x):
        return self.head(self.last(self.cut(self.trunk, x)).relu().mean((2, 3)))


@torch.no_grad()
def without_gradient(trunk, x):
    return trunk(x).relu()


@pytest.mark.parametrize("cut", [without_gradient, lambda trunk, x: trunk(x).detach(), lambda trunk, x: trunk(x).data])
@pytest.mark.parametrize("layers", [None, ["trunk", "last"]])
def test_layers_that_are_cut_off_are_named(cut, layers):
    model, x = Probe(cut).double().eval(), images()
    saliency = ParameterSaliency(model, layers=layers)
    with pytest.warns(CutOffLayersWarning, match="reaches 1 of 2 layers that ran: 'trunk'"):
        scores = saliency.attribute(x, target=LABELS)
    torch.testing.assert_close(scores[:, 6:], loop(model, x, ["last"]))
    with pytest.warns(CutOffLayersWarning, match="'trunk'"):
        Reference.fit(model, [(x, LABELS)], layers=layers, tail=None, show_progress=False)
    # Said once by each object.
    saliency.attribute(x, target=LABELS)


def test_equal_images_in_front_do_not_hide_that_images_influence_each_other():
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    norm = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 3)).double().eval()

    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

        def forward(self, x):
            z = self.conv(x).relu().mean((2, 3))
            return self.head(z - z.mean(0))

    first = images()[:1]
    for model in (norm, Centred().double().eval()):
        layer = "conv" if isinstance(model, Centred) else "0"
        for second in (first, first + 0.1 * images(seed=3)[:1], torch.zeros_like(first)):
            x = torch.cat([first, second, images(seed=4)[:2]])
            found = ParameterSaliency(model).attribute(x, target=LABELS)
            torch.testing.assert_close(found, loop(model, x, [layer]), rtol=1e-6, atol=1e-12)


def test_pixels_follow_another_way_too():
    model = TwoWays(lambda z: z.shape[-1] > 12).double().eval()
    used, fresh = (InputSpaceSaliency(ParameterSaliency(model), top_k=3) for _ in range(2))
    used.attribute(images(), target=LABELS)
    torch.testing.assert_close(
        used.attribute(images(24), target=LABELS), fresh.attribute(images(24), target=LABELS), rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients_of_tensors_that_are_no_parameters_are_left_alone(reentrant):
    class Prompted(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
            self.prompt = [torch.zeros(1, 3, 8, 8, requires_grad=True)]

        def forward(self, x):
            maps = checkpoint(lambda t: self.conv(t).relu(), x + self.prompt[0], use_reentrant=reentrant)
            return self.head(maps.mean((2, 3)))

    model = Prompted().eval()
    for before in (None, torch.ones(1, 3, 8, 8)):
        model.prompt[0].grad = before
        ParameterSaliency(model).attribute(torch.rand(2, 3, 8, 8), target=0)
        assert model.prompt[0].grad is before
    assert torch.equal(before, torch.ones(1, 3, 8, 8))
