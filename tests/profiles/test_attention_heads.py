"""Attention by head: three libraries with the same weights, every family's layout, names, order, biases."""

import pytest
import torch
from cases.vision_transformers import Logits, three_with_the_same_weights
from oracles.deviation import assert_exact
from torch import nn
from torch.nn import functional

from captum_paramsal import InputSpaceSaliency, ParameterSaliency, Reference
from captum_paramsal.errors import LayerError, ReferenceMismatchError, UnscoredWeightsWarning
from captum_paramsal.hooks import equal_heads, heads_of
from captum_paramsal.hooks.functions import INSIDE

SMALL = (16, 4, 2, 4, 16, 32, 5)
"""Image, patch, blocks, heads, width, hidden features, classes."""


def batch(size, count=3, classes=5):
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(count, 3, size, size, generator=generator, dtype=torch.double)
    return images, torch.arange(count) % classes


def heads_among(filters):
    return [place for place, one in enumerate(filters) if "[head " in str(one)]


def loop(model, x, y, pieces):
    """Mean absolute gradient of each piece (a weight and some of its rows), image by image."""
    model.requires_grad_(True)
    weights = list({id(weight): weight for weight, _ in pieces}.values())
    rows = []
    for n in range(len(y)):
        loss = functional.cross_entropy(model(x[n : n + 1]), y[n : n + 1])
        gradients = dict(zip(map(id, weights), torch.autograd.grad(loss, weights), strict=True))
        rows.append(torch.stack([gradients[id(weight)][part].abs().mean() for weight, part in pieces]))
    model.requires_grad_(False)
    return torch.stack(rows)


@pytest.fixture(scope="module")
def three():
    return three_with_the_same_weights(*SMALL)


@pytest.mark.parametrize("library", ["torchvision", "timm", "Hugging Face"])
def test_heads_of_a_vision_transformer(three, library):
    model, (x, y) = three[library], batch(16)
    saliency = ParameterSaliency(model)
    scores = saliency.attribute(x, target=y)
    columns = heads_among(saliency.filters)
    assert len(columns) == 2 * 3 * 4
    fused = [block.attn.qkv.weight for block in three["timm"].blocks]
    pieces = [(weight, slice(4 * unit, 4 * unit + 4)) for weight in fused for unit in range(12)]
    torch.testing.assert_close(scores[:, columns], loop(three["timm"], x, y, pieces), rtol=1e-10, atol=1e-14)
    alone = torch.cat([saliency.attribute(x[n : n + 1], target=y[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(alone, scores, rtol=1e-10, atol=1e-14)


def test_three_libraries_give_the_same_scores(three):
    (x, y), scores = batch(16), {}
    for library, model in three.items():
        scores[library] = ParameterSaliency(model).attribute(x, target=y)
    for library in ("timm", "Hugging Face"):
        torch.testing.assert_close(scores[library], scores["torchvision"], rtol=1e-9, atol=1e-12, msg=library)


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("torchvision", "encoder.layers.encoder_layer_1.self_attention.k[head 2]"),
        ("timm", "blocks.1.attn.k[head 2]"),
        ("Hugging Face", "model.vit.layers.1.attention.k[head 2]"),
    ],
)
def test_names_and_order(three, library, name):
    filters = ParameterSaliency(three[library]).filters
    names = [str(filters[place]) for place in heads_among(filters)]
    assert names.index(name) == 12 + 4 + 2
    block = name.removesuffix("k[head 2]")
    assert names[12:] == [f"{block}{part}[head {head}]" for part in "qkv" for head in range(4)]


@pytest.mark.slow
def test_vit_b_16_has_432_heads():
    models, (x, y) = three_with_the_same_weights(224, 16, 12, 12, 768, 3072, 10), batch(224, count=2)
    scores = {}
    for library, model in models.items():
        saliency = ParameterSaliency(model, layers=_attention_of(library))
        scores[library] = saliency.attribute(x, target=y)
        assert scores[library].shape == (2, 432)
    top = float(scores["timm"].max())
    fused = [block.attn.qkv.weight for block in models["timm"].blocks]
    pieces = [(weight, slice(64 * unit, 64 * unit + 64)) for weight in fused for unit in range(36)]
    slow = loop(models["timm"], x, y, pieces)
    for library, values in scores.items():
        assert float((values - slow).abs().max()) <= 1e-12 * top, library


def _attention_of(library):
    return {"torchvision": nn.MultiheadAttention, "timm": "blocks.*.attn", "Hugging Face": "*.attention"}[library]


def test_pixels_of_heads(three):
    (x, y), maps = batch(16), {}
    for library, model in three.items():
        saliency = ParameterSaliency(model, layers=_attention_of(library))
        maps[library] = InputSpaceSaliency(saliency, top_k=3).attribute(x, target=y)
    for library in ("timm", "Hugging Face"):
        torch.testing.assert_close(maps[library], maps["torchvision"], rtol=1e-7, atol=1e-10, msg=library)


class Attention(nn.Module):
    """Attention over tokens, with projections that are written down in many ways."""

    def __init__(self, how, width=8, heads=2):
        super().__init__()
        self.how, self.num_heads, size = how, heads, width // heads
        sizes = {"q": width, "k": width, "v": width}
        if how == "multi-query":
            sizes |= {"k": size, "v": size}
        if how == "heads first":
            self.key_dim, self.val_dim = 3, 5
            self.qkv = nn.Linear(width, heads * 11)
            width = heads * 5
        elif how == "fused":
            self.qkv = nn.Linear(width, 3 * width)
        elif how == "keys with values":
            self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        else:
            for part in "kvq":
                self.add_module(f"{part}_proj", nn.Linear(8, sizes[part]))
        self.proj = nn.Linear(width, 8)

    def projected(self, x):
        if self.how == "heads first":
            return self.qkv(x).unflatten(2, (self.num_heads, 11)).transpose(1, 2).split([3, 3, 5], dim=3)
        if self.how == "fused":
            return self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        if self.how == "keys with values":
            keys, values = self.kv(x).unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
            return self.q(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2), keys, values
        parts = [self.q_proj(x), self.k_proj(x), self.v_proj(x)]
        return [part.unflatten(2, (-1, 4)).transpose(1, 2).expand(-1, self.num_heads, -1, -1) for part in parts]

    def forward(self, x):
        q, k, v = self.projected(x)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Classifier(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.embed, self.attn, self.head = nn.Linear(6, 8), attention, nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.attn(self.embed(x).tanh()).sin().mean(1))


def tokens():
    x = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    return x, torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("how", "pieces"),
    [
        ("fused", [("qkv", 4 * unit, 4) for unit in range(6)]),
        ("separate", [(f"{part}_proj", start, 4) for part in "qkv" for start in (0, 4)]),
        ("multi-query", [("q_proj", 0, 4), ("q_proj", 4, 4), ("k_proj", 0, 4), ("v_proj", 0, 4)]),
        ("keys with values", [("q", 0, 4), ("q", 4, 4), ("kv", 0, 4), ("kv", 4, 4), ("kv", 8, 4), ("kv", 12, 4)]),
        ("heads first", [("qkv", s + 11 * head, size) for s, size in ((0, 3), (3, 3), (6, 5)) for head in (0, 1)]),
    ],
)  # fmt: skip
def test_every_layout_has_its_heads(how, pieces):
    torch.manual_seed(0)
    model, (x, y) = Classifier(Attention(how)).double(), tokens()
    saliency = ParameterSaliency(model, layers="attn")
    scores = saliency.attribute(x, target=y)
    weights = [(getattr(model.attn, name).weight, slice(start, start + size)) for name, start, size in pieces]
    torch.testing.assert_close(scores, loop(model, x, y, weights), rtol=1e-10, atol=1e-14)
    names = [str(one) for one in saliency.filters]
    keys = 1 if how == "multi-query" else 2
    counts = {"q": 2, "k": keys, "v": keys}
    assert names == [f"attn.{part}[head {head}]" for part in "qkv" for head in range(counts[part])]
    default = ParameterSaliency(model)
    assert [str(default.filters[place]) for place in heads_among(default.filters)] == names
    assert default.filters.layers[0] == "embed"
    assert default.filters.layers[-1] == "attn.proj"


def test_signed_sums_know_heads_of_different_sizes():
    torch.manual_seed(0)
    model, (x, y) = Classifier(Attention("heads first")).double(), tokens()
    profiler = ParameterSaliency(model, layers="attn").profiler
    sums = profiler.gradient_sums(torch.zeros(3, dtype=torch.int64), 1, x, y)
    torch.testing.assert_close(sums.mean_profile(profiler.filters.counts)[0], profiler(x, y).mean(dim=0))


def test_by_name_the_rows():
    model, (x, y) = Classifier(Attention("fused")).double(), tokens()
    rows = ParameterSaliency(model, layers="attn.qkv")
    assert str(rows.filters[5]) == "attn.qkv[5]"
    assert len(rows.filters) == 24
    by_head = ParameterSaliency(model, layers="attn").attribute(x, target=y)
    together = rows.attribute(x, target=y).unflatten(1, (6, 4)).mean(dim=2)
    torch.testing.assert_close(together, by_head)


def test_a_reference_keeps_its_heads(tmp_path):
    model, (x, y) = Classifier(Attention("fused")).double(), tokens()
    Reference.fit(model, [(x, y)], show_progress=False).save(tmp_path / "heads.safetensors")
    reference = Reference.load(tmp_path / "heads.safetensors")
    saliency = ParameterSaliency(model, reference)
    assert [str(one) for one in saliency.filters] == [str(one) for one in ParameterSaliency(model).filters]
    assert saliency.attribute(x, target=y).shape == (3, len(reference.filters))


class OwnAttention(nn.Module):
    """Registered below."""

    def __init__(self):
        super().__init__()
        self.project, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        k, q, v = self.project(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@heads_of(OwnAttention)
def own_heads(module):
    rows = equal_heads(module.project, k=2, q=2, v=2)
    return {"project": {name: rows[name] for name in sorted(rows, key=lambda name: "qkv".index(name[0]))}}


def test_heads_of_ones_own():
    torch.manual_seed(0)
    model, (x, y) = Classifier(OwnAttention()).double(), tokens()
    saliency = ParameterSaliency(model, layers=OwnAttention)
    weights = [(model.attn.project.weight, slice(start, start + 4)) for start in (8, 12, 0, 4, 16, 20)]
    torch.testing.assert_close(saliency.attribute(x, target=y), loop(model, x, y, weights), rtol=1e-10, atol=1e-14)


def test_rows_that_cannot_be_divided():
    with pytest.raises(LayerError, match=r"divided among 5 heads, got 24 rows"):
        equal_heads(nn.Linear(2, 24), q=5)


@pytest.mark.parametrize("bias", [False, True])
def test_text_classifier_with_rows_and_biases(bias):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, num_labels=3,
        initializer_range=0.3,
    )  # fmt: skip
    model = Logits(transformers.BertForSequenceClassification(config)).double().eval()
    ids = torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(1))
    y = torch.tensor([0, 1, 2])
    names = [f"*.{part}" for part in ("query", "key", "value")]
    saliency = ParameterSaliency(model, layers=names, bias=bias)
    parts = saliency.filters.split(saliency.attribute(ids, target=y))
    assert len(parts) == 6
    model.requires_grad_(True)
    for n in range(3):
        loss = functional.cross_entropy(model(ids[n : n + 1]), y[n : n + 1])
        for name, scores in parts.items():
            layer = model.get_submodule(name)
            weight, added = torch.autograd.grad(loss, [layer.weight, layer.bias], retain_graph=True)
            rows = torch.cat([weight, added[:, None]], dim=1) if bias else weight
            assert_exact(name, {name: scores[n : n + 1]}, {name: rows.abs().mean(dim=1)[None]})


def test_text_classifier_by_default():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=4, intermediate_size=256, num_labels=3
    )
    model = Logits(transformers.BertForSequenceClassification(config)).eval()
    with pytest.warns(UnscoredWeightsWarning, match=r"leave out \d+% of the weights .*word_embeddings"):
        layers = ParameterSaliency(model).filters.layers
    assert [name.rsplit(".", 1)[-1] for name in layers] == ["query", "key", "value", "dense", "dense", "dense"]
    assert not any("pooler" in name or "classifier" in name for name in layers)


def test_a_reference_with_biases(tmp_path):
    model, (x, y) = Classifier(Attention("separate")).double(), tokens()
    reference = Reference.fit(model, [(x, y)], layers="attn.q_proj", bias=True, show_progress=False)
    reference.save(tmp_path / "biases.safetensors")
    loaded = Reference.load(tmp_path / "biases.safetensors")
    assert loaded.filters == reference.filters
    assert loaded.filters.bias
    assert ParameterSaliency(model, loaded).filters.bias
    with pytest.raises(ReferenceMismatchError, match="biases are"):
        ParameterSaliency(model, loaded, layers="attn.q_proj")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_output_projection_of_attention(batch_first, bias):
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=batch_first)
            self.embed, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            y = x if batch_first else x.transpose(0, 1)
            mixed = self.attention(self.embed(y).tanh(), y, y)[0]
            return self.head(mixed.sin().mean(1 if batch_first else 0))

    model, (x, y) = Net().double(), tokens()
    saliency = ParameterSaliency(model, layers="attention.out_proj", bias=bias)
    scores = saliency.attribute(x, target=y)
    # With tokens first inside of PyTorch's own function, whatever it is given.
    assert saliency.profiler._plans.latest.functions["attention.out_proj"] == INSIDE
    layer = model.attention.out_proj.requires_grad_(True)
    for n in range(3):
        loss = functional.cross_entropy(model(x[n : n + 1]), y[n : n + 1])
        weight, added = torch.autograd.grad(loss, [layer.weight, layer.bias])
        rows = torch.cat([weight, added[:, None]], dim=1) if bias else weight
        torch.testing.assert_close(scores[n], rows.abs().mean(dim=1), rtol=1e-10, atol=1e-14)
    layer.requires_grad_(False)
    pixels = InputSpaceSaliency(saliency, top_k=2)
    alone = torch.cat([pixels.attribute(x[n : n + 1], target=y[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(pixels.attribute(x, target=y), alone, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("across", [False, True], ids=["own tokens", "other tokens"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_projections_of_the_run_itself_are_taken_where_it_shows_them(batch_first, across):
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(6, 2, batch_first=batch_first), nn.Linear(6, 3)

        def forward(self, x):
            y = x if batch_first else x.transpose(0, 1)
            mixed = self.attention(y.cos() if across else y, y, y)[0]
            return self.head(mixed.sin().mean(1 if batch_first else 0))

    model, (x, y) = Net().double(), tokens()
    saliency = ParameterSaliency(model, layers="attention")
    scores = saliency.attribute(x, target=y)
    plan = saliency.profiler._plans.latest
    assert plan.hooked == ({"attention": (model.attention,)} if across else {})
    assert plan.functions == ({} if across else {"attention": 1})
    weight = model.attention.in_proj_weight.requires_grad_(True)
    for n in range(3):
        loss = functional.cross_entropy(model(x[n : n + 1]), y[n : n + 1])
        (gradient,) = torch.autograd.grad(loss, weight)
        torch.testing.assert_close(scores[n], gradient.abs().view(6, -1).mean(dim=1), rtol=1e-10, atol=1e-14)
