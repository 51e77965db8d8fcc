"""Which layer Model Doctor takes where none is named, and every family of torchvision at that layer."""

import pytest
import torch
from cases import doctor_networks as nets, networks, tracing_networks as parts
from cases.doctor_cases import Case, case
from cases.families import FAMILIES, Family
from cases.images import image
from oracles import model_doctor as oracle
from oracles.weights import seeded
from torch import nn

from captum_paramsal import ModelDoctor, demo
from captum_paramsal.errors import LayerError

SMALL = {
    "resnet": (nets.SmallResNet, (3, 2, 12, 12), "layer2"),
    "vgg": (nets.SmallVGG, (3, 2, 10, 10), "features"),
    "squeezenet": (nets.SmallSqueezeNet, (3, 2, 12, 12), "features"),
    "googlenet": (nets.SmallGoogLeNet, (3, 2, 8, 8), "inception2"),
    "densenet": (nets.FunctionalDense, (3, 2, 8, 8), "features"),
    "shufflenet": (nets.MeanHead, (3, 2, 8, 8), "conv5"),
    "demo": (demo.DemoNet, (2, 3, 64, 64), "block2"),
    "sizes": (lambda: nets.SizesBefore("view"), (3, 2, 5, 5), "layer"),
    "around": (lambda: networks.Around(nn.Conv2d(2, 4, 3), 4), (3, 2, 5, 5), "layer"),
    "straight": (nets.straight, (3, 2, 8, 8), "3"),
    "nested": (
        lambda: nn.Sequential(nn.Sequential(*parts.conv(2, 4), nn.Sequential(*parts.conv(4, 4))), *parts.gap(4)),
        (3, 2, 8, 8),
        "0",
    ),
    **{
        f"class scores, {ending}": (lambda ending=ending: nets.ClassScores(ending, kernel=3), (3, 2, 7, 7), "features")
        for ending in ("pool", "relu, pool", "max pool", "squeeze", "batch norm", "torch", "softmax of places")
    },
}


@pytest.mark.parametrize("name", SMALL)
def test_the_last_feature_maps(name):
    build, shape, expected = SMALL[name]
    one = case(build(), image(*shape), expected)
    doctor = ModelDoctor(one.model)
    assert doctor.layer_names == (expected,)
    maps = doctor.attribute(one.inputs, one.target)
    assert doctor.layer_names == (expected,)
    size = one.size(expected)
    assert maps.shape == (shape[0], *size)
    assert size[1] * size[2] > 1
    one.check(doctor.layer_names[0])


class Block(nn.Module):
    """Attention and its residual branch."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, x):
        mixed = self.norm(x)
        return x + self.attention(mixed, mixed, mixed, need_weights=False)[0]


class Tokens(nn.Module):
    """Patches with a class token that joins before some block; the head reads it, or the mean of the others."""

    def __init__(self, *, mean, joins=0, width=8):
        super().__init__()
        self.patches = nn.Conv2d(2, width, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(3))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)
        self.mean, self.joins = mean, joins

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        for number, block in enumerate(self.blocks):
            if number == self.joins:
                x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 1:].mean(dim=1) if self.mean else x[:, 0])


@pytest.mark.parametrize(
    ("mean", "joins", "expected"), [(True, 0, "norm"), (False, 0, "blocks.1"), (False, 2, "blocks.1")]
)
def test_where_the_class_token_alone_is_read_the_tokens_before_the_last_attention_have_the_evidence(
    mean, joins, expected
):
    torch.manual_seed(0)
    model = Tokens(mean=mean, joins=joins).eval()
    doctor = ModelDoctor(model)
    evidence = doctor.attribute(torch.randn(2, 2, 8, 8), target=torch.tensor([0, 1]))
    assert doctor.layer_names == (expected,)
    assert evidence.shape == (2, 8, 4, 4)
    assert bool((evidence.abs().sum(dim=1) > 0).all())


def test_tokens_that_no_module_returns_alone_are_no_layer_where_the_class_token_alone_is_read():
    class Pair(Block):
        def forward(self, both):
            return super().forward(both[0]), both[1]

    class Pairs(Tokens):
        def __init__(self):
            super().__init__(mean=False)
            self.blocks = nn.ModuleList(Pair(8) for _ in range(2))

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)
            both = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1), x
            for block in self.blocks:
                both = block(both)
            return self.head(self.norm(both[0])[:, 0])

    with pytest.raises(LayerError, match="no module of Pairs was found to return feature maps"):
        ModelDoctor(Pairs().eval()).attribute(torch.randn(2, 2, 8, 8), target=torch.tensor([0, 1]))


def test_a_network_without_maps_has_no_layer():
    with pytest.raises(LayerError, match="no module of Sequential was found to return feature maps"):
        ModelDoctor(nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)))


# Side of the images that leaves more than one place, and the module that returns the last maps, all branches of them.
LAST = {
    "alexnet": (95, "features"),
    "vgg11": (64, "features"),
    "vgg13_bn": (64, "features"),
    "resnet_small": (64, "layer4"),
    "resnet18": (64, "layer4"),
    "resnet50": (64, "layer4"),
    "resnext50_32x4d": (64, "layer4"),
    "wide_resnet50_2": (64, "layer4"),
    "densenet121": (64, "features"),
    "googlenet": (64, "inception5b"),
    "inception_v3": (107, "Mixed_7c"),
    "squeezenet1_0": (64, "features"),
    "squeezenet1_1": (64, "features"),
    "mobilenet_v2": (64, "features"),
    "mobilenet_v3_small": (64, "features"),
    "mobilenet_v3_large": (64, "features"),
    "shufflenet_v2_x0_5": (64, "conv5"),
    "mnasnet0_5": (64, "layers"),
    "efficientnet_b0": (64, "features"),
    "efficientnet_v2_s": (64, "features"),
    "regnet_x_400mf": (64, "trunk_output"),
    "regnet_y_400mf": (64, "trunk_output"),
    "convnext_tiny": (64, "features"),
}
FAST = ("resnet_small", "squeezenet1_1")


def family(name):
    arguments = {"aux_logits": False, "init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    return Family(name, LAST[name][0], arguments)


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[] if n in FAST else [pytest.mark.slow]) for n in LAST])
def built(request):
    model, images, labels = family(request.param).build()
    return request.param, Case(model.double(), images.double(), (LAST[request.param][1],), labels)


def test_torchvision(built):
    name, one = built
    layer = LAST[name][1]
    assert ModelDoctor(one.model).layer_names == (layer,)
    size = one.size(layer)
    assert len(size) == 3
    assert size[1] * size[2] > 1
    one.check(layer, noise_samples=0)
    one.check(layer, noise_samples=3, noise_range=0.3)


@pytest.mark.slow
def test_torchvision_at_other_layers(built):
    _, one = built
    convolutions = [n for n, module in one.model.named_modules() if isinstance(module, nn.Conv2d)]
    for layer in (convolutions[0], convolutions[len(convolutions) // 2], convolutions[-1]):
        one.check(layer, noise_samples=2, noise_range=0.1, internal_batch_size=3)
        one.check(layer, noise_samples=1, score="probability", reduce="relu", multiply_by_inputs=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_do_not_matter(name):
    model, images, labels = Family(name, LAST[name][0], {"aux_logits": True, "init_weights": False}).build()
    one = Case(model.double(), images.double(), (LAST[name][1],), labels)
    doctor = ModelDoctor(one.model)
    assert doctor.layer_names == (LAST[name][1],)
    one.check(doctor.layer_names[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", [f.name for f in FAMILIES if f.layers == "*" and (not f.slow or f.name == "swin_t")])
def test_transformers_have_maps_or_are_refused(name):
    model, images, labels = next(f for f in FAMILIES if f.name == name).build()
    model, images = seeded(model.double(), images.double()), images.double()
    try:
        doctor = ModelDoctor(model)
    except LayerError:
        return
    size = oracle.one_pass(model, (images[:1],), doctor.layer_names[0], 0.0)[1].shape[1:]
    with torch.no_grad():
        maps = doctor.attribute(images, labels)
    if len(size) == 2:
        # Tokens: those of the places, without a class token, are maps.
        assert maps.shape[:2] == (len(images), size[1])
        assert maps.shape[2:].numel() in (size[0], size[0] - 1)
        return
    assert maps.shape == (len(images), *size)
    Case(model, images, (doctor.layer_names[0],), labels).check(doctor.layer_names[0], noise_samples=2)


def test_a_layer_that_is_really_called_module():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.module(x).mean((2, 3)))

    model = Holder()
    assert ModelDoctor(model, "module.0").layer_name == "module.0"
    assert ModelDoctor(nn.DataParallel(model), "module.module.0").layer_name == "module.0"
