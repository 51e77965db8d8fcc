"""Which layers are scored: the default, names, modules, types, patterns, and what is refused."""

import pytest
import torch
from cases import networks as nets
from cases.images import CASES, image
from cases.scores import scores_of
from oracles.deviation import assert_exact
from oracles.parameter_saliency import profile_loop
from oracles.weights import seeded
from torch import nn

from captum_paramsal.attr import ParameterSaliency
from captum_paramsal.errors import LayerError


def tower():
    """Convolutions at three depths, with layers of other kinds between them."""

    def block(inputs, outputs):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.Conv2d(outputs, outputs, 1)
        )

    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(2, 4, 3))
    model.add_module("layer1", block(4, 4))
    model.add_module("layer11", block(4, 6))
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flat", nn.Flatten())
    model.add_module("linear", nn.Linear(6, 3))
    return seeded(model.double(), image(8, 2, 6, 6))


ALL = ["stem", "layer1.0", "layer1.3", "layer11.0", "layer11.3"]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (lambda _: None, ALL),
        (lambda _: "layer1.3", ["layer1.3"]),
        (lambda m: m.layer1[3], ["layer1.3"]),
        (lambda _: "layer1.*", ["layer1.0", "layer1.3"]),
        (lambda _: "layer1*.0", ["layer1.0", "layer11.0"]),
        (lambda _: "*.3", ["layer1.3", "layer11.3"]),
        (lambda _: "s[t]em", ["stem"]),
        (lambda _: nn.Conv2d, ALL),
        (lambda _: nn.Linear, ["linear"]),
        (lambda _: [nn.Linear, nn.Conv2d], [*ALL, "linear"]),
        (lambda m: ["layer11.0", m.stem, nn.Linear], ["stem", "layer11.0", "linear"]),
        (lambda _: ("layer11.3", "layer1.0"), ["layer1.0", "layer11.3"]),
        (lambda m: ["stem", m.stem, "s*"], ["stem"]),
        (lambda _: "layer1.1", ["layer1.1"]),
        (lambda _: nn.BatchNorm2d, ["layer1.1", "layer11.1"]),
    ],
    ids=[
        "default", "name", "module", "glob", "glob in the middle", "glob at the front", "glob of characters", "type",
        "other type", "types", "mixed", "other order", "named three times", "batch norm by name", "batch norm by type",
    ],
)  # fmt: skip
def test_selection(select, expected):
    model, x, y = tower(), image(3, 2, 6, 6), torch.tensor([0, 1, 2])
    layers = select(model)
    assert list(ParameterSaliency(model, layers=layers).filters.layers) == expected
    assert_exact(f"layers={layers!r}", scores_of(model, x, y, layers), profile_loop(model, x, y, expected))


def test_everything_holds_convolutions_and_linears():
    layers = ParameterSaliency(tower(), layers="*").filters.layers
    assert [name for name in layers if name in {*ALL, "linear"}] == [*ALL, "linear"]


def test_split_gives_every_layer_its_own_columns():
    model, x = tower(), image(3, 2, 6, 6)
    saliency = ParameterSaliency(model, layers=[nn.Conv2d, nn.Linear])
    scores = saliency.attribute(x, target=1)
    split = saliency.filters.split(scores)
    assert {name: tuple(part.shape) for name, part in split.items()} == {
        "stem": (3, 4), "layer1.0": (3, 4), "layer1.3": (3, 4), "layer11.0": (3, 6), "layer11.3": (3, 6),
        "linear": (3, 3),
    }  # fmt: skip
    torch.testing.assert_close(torch.cat(list(split.values()), dim=1), scores, rtol=0, atol=0)
    for name, part in split.items():
        alone = ParameterSaliency(model, layers=name).attribute(x, target=1)
        torch.testing.assert_close(alone, part, rtol=1e-12, atol=0, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ("layer1.33", ["layer1.33", "layer1.3"]),
        ("Stem", ["Stem", "stem"]),
        (["stem", "layer2.0"], ["layer2.0"]),
        ("layer7.*", ["layer7.*"]),
        ("pool", ["pool"]),
        (nn.Conv3d, ["Conv3d"]),
        (nn.Conv2d(2, 4, 3), ["Conv2d"]),
        ([], []),
    ],
    ids=["unknown", "case", "one unknown", "empty glob", "no weights", "absent type", "stranger", "none"],
)
def test_refused_selections_say_what_was_asked_for(select, words):
    with pytest.raises(LayerError) as caught:
        ParameterSaliency(tower(), layers=select).attribute(image(2, 2, 6, 6), target=0)
    for word in words:
        assert word in str(caught.value), f"{word!r} is missing in: {caught.value}"


def test_model_without_any_convolution():
    with pytest.raises(LayerError, match=r"it has no convolution.*Linear"):
        ParameterSaliency(nn.Sequential(nn.Linear(3, 2))).attribute(torch.randn(2, 3), target=0)


class Unreached(nn.Module):
    def __init__(self):
        super().__init__()
        self.used = nn.Conv2d(2, 4, 3)
        self.spare = nn.Conv2d(2, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.used(x).tanh().mean((2, 3)))


@pytest.mark.parametrize("by", ["name", "module"])
def test_a_named_layer_that_is_never_reached_is_an_error(by):
    model = Unreached()
    layer = "spare" if by == "name" else model.spare
    with pytest.raises(LayerError, match="spare"):
        ParameterSaliency(model, layers=layer).attribute(image(2, 2, 5, 5).float(), target=0)


@pytest.mark.parametrize("layers", [None, nn.Conv2d, "*"], ids=["default", "type", "glob"])
def test_an_unnamed_layer_that_is_never_reached_scores_zero(layers):
    model, x = Unreached().double(), image(2, 2, 5, 5)
    scores = scores_of(model, x, 0, layers)
    assert (scores["spare"] == 0).all()
    assert (scores["used"] > 0).all()


@pytest.mark.parametrize("name", ["functional weight", "tied"])
def test_weights_without_calls_of_their_module_may_be_named(name):
    if name == "tied":
        model, x, layer = seeded(nets.Tied().double()), image(3, 2, 8, 8), "right"
    else:
        case = CASES["functional weight"]()
        model, x, layer = case.model, case.inputs, "borrowed"
    y = torch.tensor([0, 1, 2])
    assert_exact(name, scores_of(model, x, y, layer), profile_loop(model, x, y, [layer]))


def test_a_weight_of_two_modules_sums_both_before_the_absolute_value():
    model, x, y = seeded(nets.Tied().double()), image(3, 2, 8, 8), torch.tensor([0, 1, 2])
    scores = scores_of(model, x, y)
    # The paper goes through the parameters, which are one; both of its modules may be listed, with the same scores.
    assert list(scores) in (["stem", "left"], ["stem", "left", "right"])
    assert_exact("tied", scores, profile_loop(model, x, y, list(scores)))


def test_a_module_under_two_names_is_scored_once():
    case = CASES["twice"]()
    case.model.alias = case.model.shared
    assert_exact("alias", scores_of(case.model, case.inputs, case.target), case.oracle())


class TestClassScores:
    """A convolution whose channels are the class scores is left out, unless it is asked for."""

    ENDINGS = ("relu, pool, flatten", "pool, flatten", "mean", "largest", "after the pool")

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_left_out_by_default(self, ending):
        model, x, y = self.network(ending)
        assert_exact(ending, scores_of(model, x, y), profile_loop(model, x, y, ["stem", "middle"]))

    @pytest.mark.parametrize("layers", ["scores", "*", nn.Conv2d, ["stem", "scores"]], ids=str)
    def test_scored_when_asked_for(self, layers):
        model, x, y = self.network("relu, pool, flatten")
        names = [n for n in ParameterSaliency(model, layers=layers).filters.layers if n != "linear"]
        assert "scores" in names
        scores = {name: s for name, s in scores_of(model, x, y, layers).items() if name != "linear"}
        assert_exact(f"{layers}", scores, profile_loop(model, x, y, names))

    def test_scored_when_a_linear_stands_behind_it(self):
        model, x, y = self.network("linear")
        assert_exact("linear", scores_of(model, x, y), profile_loop(model, x, y, ["stem", "middle", "scores"]))

    def test_scored_when_places_and_not_channels_are_the_classes(self):
        model, x, y = self.network("places are the classes")
        layers = ["stem", "middle", "scores"]
        assert_exact("places", scores_of(model, x, y), profile_loop(model, x, y, layers))

    def test_left_out_of_a_map_of_scores(self):
        model, x, _ = self.network("a map of scores")
        saliency = ParameterSaliency(model)
        scores = saliency.attribute(x, target=(1, 0, 0))
        assert saliency.filters.layers == ("stem", "middle")
        assert scores.shape == (3, 7)

    def test_filters_are_the_same_before_and_after_scoring(self):
        model, x, y = self.network("relu, pool, flatten")
        saliency = ParameterSaliency(model)
        before = saliency.filters
        scores = saliency.attribute(x, target=y)
        assert saliency.filters == before
        assert scores.shape[1] == len(before)

    @staticmethod
    def network(ending):
        model = seeded(nets.NetworkInNetwork(ending).double())
        with torch.no_grad():
            model.scores.bias.add_(1)  # alive behind its ReLU
        return model, image(3, 2, 8, 8), torch.tensor([0, 1, 2])
