"""A weight counts wherever it is used: in calls of its layer, in functions, computed for each pass, at other sizes."""

import pytest
import torch
from cases.images import image
from oracles.parameter_saliency import profile_loop
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, weight_norm

from captum_paramsal import InputSpaceSaliency, ParameterSaliency
from captum_paramsal.errors import LayerError

LABELS = torch.tensor([0, 1, 2])


class Twice(nn.Module):
    """A convolution that is called, and whose weight a function uses too."""

    def __init__(self, *, called=True, wide=0):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.called, self.wide = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3), called, wide

    def forward(self, x):
        maps = self.conv(x) if self.called else 0
        if x.shape[-1] >= self.wide:
            maps = maps + functional.conv2d(x, self.conv.weight, padding=2, dilation=2)
        return self.head(maps.relu().mean((2, 3)))


class Encoder(nn.Module):
    """Attention, whose output projection is multiplied by in a function."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.block, self.head = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.block(x).mean(1))


COMPUTED = {
    "weight norm": parametrizations.weight_norm,
    "weight norm by a hook": weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
}


def plain_twin(model, layer):
    """A model whose weight is what the other one computes."""
    twin = type(model)(**{"called": model.called} if isinstance(model, Twice) else {}).double().eval()
    with torch.no_grad():
        twin.get_submodule(layer).weight.copy_(model.get_submodule(layer).weight)
    return twin


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("computed", COMPUTED)
@pytest.mark.parametrize("called", [True, False], ids=["called too", "in a function alone"])
def test_computed_weights_that_a_function_uses(computed, called):
    model = Twice(called=called).double().eval()
    COMPUTED[computed](model.conv)
    model.conv(torch.rand(1, 3, 8, 8).double())
    hooks = dict(model.conv._forward_pre_hooks)
    images = image(3, 3, 8, 8)
    twin = plain_twin(model, "conv")
    expected = profile_loop(twin, images, LABELS, ["conv"])["conv"]
    torch.testing.assert_close(ParameterSaliency(model).attribute(images, LABELS), expected)
    assert list(model.conv._forward_pre_hooks.items()) == list(hooks.items())
    maps = [InputSpaceSaliency(ParameterSaliency(one), top_k=2).attribute(images, LABELS) for one in (model, twin)]
    torch.testing.assert_close(*maps)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("computed", COMPUTED)
def test_computed_weights_of_attentions_output(computed):
    model, name = Encoder().double().eval(), "block.self_attn.out_proj"
    COMPUTED[computed](model.get_submodule(name))
    tokens = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0)).double()
    model(tokens)
    expected = profile_loop(plain_twin(model, name), tokens, LABELS, [name])[name]
    torch.testing.assert_close(ParameterSaliency(model, layers=name).attribute(tokens, LABELS), expected)


def test_computed_weights_that_only_torch_func_could_tell_apart_are_refused():
    class Turned(Twice):
        def forward(self, x):
            return self.head(functional.conv2d(x, self.conv.weight.flip(-1)).relu().mean((2, 3)))

    model = Turned().eval()
    parametrizations.weight_norm(model.conv)
    with pytest.raises(LayerError, match=r"a parameter as the weight of 'conv'.*remove_parametrizations"):
        ParameterSaliency(model).attribute(torch.rand(3, 3, 8, 8), LABELS)


@pytest.mark.parametrize("together", [True, False], ids=["batch", "one by one"])
def test_a_further_use_at_another_size_is_seen(together):
    model = Twice(wide=12).double().eval()
    saliency = ParameterSaliency(model)
    for size in (8, 16, 8):
        images = image(3, 3, size, size)
        expected = profile_loop(model, images, LABELS, ["conv"])["conv"]
        size_of_pass = None if together else 1
        found = saliency.attribute(images, LABELS, internal_batch_size=size_of_pass)
        torch.testing.assert_close(found, expected)


def test_a_further_use_after_an_attribute_changed_is_seen():
    model, images = Twice(wide=100).double().eval(), image(3, 3, 8, 8)
    saliency = ParameterSaliency(model)
    for wide in (100, 0, 100):
        model.wide = wide
        expected = profile_loop(model, images, LABELS, ["conv"])["conv"]
        torch.testing.assert_close(saliency.attribute(images, LABELS), expected)


class Pool(nn.Module):
    """Learnt queries; the map of attention is read, too."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.query, self.attention = nn.Parameter(torch.randn(1, 2, 8)), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head, self.of_map = nn.Linear(8, 3), nn.Linear(6, 3)

    def forward(self, x):
        pooled, shares = self.attention(self.query.expand(len(x), -1, -1), x, x)
        return self.head(pooled.mean(1)) + self.of_map(shares.mean(1))


def test_attention_whose_map_is_used():
    model = Pool().double().eval()
    tokens = 3 * torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(1)).double()
    rows = []
    for one, label in zip(tokens, LABELS, strict=True):
        loss = functional.cross_entropy(model(one[None]), label[None])
        (gradient,) = torch.autograd.grad(loss, model.attention.in_proj_weight)
        rows.append(gradient.abs().reshape(6, 4, 8).mean((1, 2)))
    found = ParameterSaliency(model, layers="attention").attribute(tokens, LABELS)
    torch.testing.assert_close(found, torch.stack(rows))


@pytest.mark.parametrize(
    ("made", "changed"),
    [
        ({"padding": "same", "dilation": 2}, {"dilation": (1, 1)}),
        ({"padding": 1}, {"padding": "valid"}),
        ({"padding": "same"}, {"dilation": (2, 2)}),
        ({}, {"padding": "same"}),
        ({"padding": 1}, {"stride": 2}),
        ({}, {"padding": 2, "dilation": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("transposed", [False, True])
def test_settings_of_a_convolution_count_as_they_are_now(made, changed, transposed):
    if transposed and isinstance((made | changed).get("padding"), str):
        pytest.skip("transposed convolutions have no named padding")
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    torch.manual_seed(0)
    model = nn.Sequential(kind(3, 4, 3, **made), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    model = model.double().eval()
    for name, value in changed.items():
        setattr(model[0], name, (value, value) if transposed and isinstance(value, int) else value)
    images = image(3, 3, 10, 10)
    rows = []
    for one, label in zip(images, LABELS, strict=True):
        (gradient,) = torch.autograd.grad(functional.cross_entropy(model(one[None]), label[None]), model[0].weight)
        rows.append(gradient.transpose(0, 1 if transposed else 0).flatten(1).abs().mean(1))
    torch.testing.assert_close(ParameterSaliency(model).attribute(images, LABELS), torch.stack(rows))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_scripted_module_beside_the_layers_works_as_a_whole():
    def network(activation):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), activation, nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(5, 3)).double().eval()

    images = image(3, 3, 8, 8)
    scripted, plain = network(torch.jit.script(nn.ReLU())), network(nn.ReLU())
    found, expected = (ParameterSaliency(model).attribute(images, LABELS) for model in (scripted, plain))
    torch.testing.assert_close(found, expected)
