"""The captured network: what it keeps, what it writes over, what it refuses."""

import pytest
import torch
from captum.attr import visualization
from captum.metrics import infidelity, sensitivity_max
from oracles.weights import seeded
from torch import nn
from torch.nn import functional

from captum_paramsal import DiscernibleNeurons, InputError, TargetError, Trace, TraceError
from captum_paramsal.graph import Network, mark_sizes, traced_run


@pytest.fixture(autouse=True)
def fixed_weights():
    torch.manual_seed(0)


def images(count=2, side=12, seed=3):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def head(channels, classes=4):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class InPlace(nn.Module):
    """Writes over its input, over what a sum keeps, and over what is read again under its old name."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), head(6)

    def forward(self, x):
        functional.relu_(x)
        x = self.first(x)
        y = self.second(functional.relu(x))
        y += x
        functional.relu(y, inplace=True)
        return self.head(y.mul_(2).add(y))


class TestRun:
    def test_in_place_operations_change_no_result_and_no_input(self):
        model, given = seeded(InPlace()).eval(), images() - 0.5
        kept = given.clone()
        expected = model(given.clone())
        with torch.no_grad():
            run = traced_run(model, [given])
        assert torch.equal(run.output, expected)
        assert torch.equal(given, kept)
        DiscernibleNeurons(model).attribute(given)
        assert torch.equal(given, kept)

    def test_operands_of_a_sum_are_those_before_it(self):
        model = seeded(InPlace()).eval()
        with torch.no_grad():
            run = traced_run(model, [images()])
        second = next(value for node, value in run.values.items() if node.meta["layer"] == "second" and node.args)
        assert torch.allclose(second, model.second(functional.relu(model.first(images().clone()))), atol=1e-6)

    def test_later_weights_are_seen(self):
        model = seeded(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), head(5))).eval()
        tracer = DiscernibleNeurons(model)
        before = tracer.trace(images(), target=1).layers["output"].score
        with torch.no_grad():
            model[2][2].weight.mul_(2)
        assert torch.equal(tracer.trace(images(), target=1).layers["output"].score, model(images())[:, 1].detach())
        assert not torch.equal(before, tracer.trace(images(), target=1).layers["output"].score)

    def test_a_network_that_goes_another_way_is_followed_anew(self):
        model = seeded(Branching()).eval()
        tracer = DiscernibleNeurons(model)
        for given in (images(), images() - 2, images()):
            trace = tracer.trace(given)
            assert torch.equal(trace.layers["output"].score, model(given).amax(dim=1).detach())
            assert ("up" in trace.layers) == bool(given.sum() > 0)

    def test_hooks_and_flags_of_the_model_are_part_of_the_run(self):
        model = seeded(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), head(5))).eval()
        before = DiscernibleNeurons(model).trace(images(), target=1)
        model.register_forward_hook(lambda _, __, output: -output)
        after = DiscernibleNeurons(model).trace(images(), target=1)
        assert torch.equal(after.layers["output"].score, -before.layers["output"].score)

    def test_what_is_left_of_a_module_that_returns_its_input_is_a_value_of_its_own(self):
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Identity(), nn.Dropout(), nn.ReLU(), head(5)).eval()
        calls = Network.of(model, images()).calls
        ends = [calls[name][0].returned for name in "0123"]
        assert len(set(ends)) == 4


class TestSizes:
    def test_numbers_that_go_with_the_images_are_marked(self):
        class Sizes(nn.Module):
            def forward(self, x):
                token = torch.zeros(1, 1, 1).expand(x.shape[0], -1, 3)
                rows = torch.cat([token, x.flatten(2).transpose(1, 2)], dim=1)
                return rows.reshape(x.shape[0] * 5, -1).view(x.shape[0], -1)[:, :4]

        one, other = (Network.of(Sizes(), torch.rand(count, 3, 2, 2)).graph for count in (2, 3))
        assert mark_sizes(one, 2, other, 3) is None
        marked = [str(node) for node in one.nodes if node.meta.get("per_example")]
        assert marked == ["expand", "reshape", "view"]

    def test_a_number_that_grows_in_another_way_is_named(self):
        class Squared(nn.Module):
            def forward(self, x):
                return x.flatten(1).repeat(1, x.shape[0] ** 2)[:, :4]

        one, other = (Network.of(Squared(), torch.rand(count, 3, 2, 2)).graph for count in (2, 3))
        assert "'repeat' has 9 in place of 4" in mark_sizes(one, 2, other, 3)


class Branching(nn.Module):
    """Which way it goes is settled while it runs."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.up(x).mean(dim=(2, 3)) if x.sum() > 0 else self.down(x).amax(dim=(2, 3))


class Cubed(nn.Module):
    """``torch.cumsum`` has no rule."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Module()
        self.convolution, self.head = nn.Conv2d(3, 4, 3), head(4)

    def forward(self, x):
        return self.head(torch.cumsum(self.convolution(x), dim=2))


class TestRefused:
    def test_an_operation_without_a_rule_is_named(self):
        with pytest.raises(TraceError, match=r"cumsum.*'cumsum'.*the model itself.*trace_rule"):
            DiscernibleNeurons(Cubed().eval()).attribute(images(), target=0)

    def test_what_came_about_unseen_is_refused(self):
        class Hidden(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                del ctx
                return torch.from_numpy(x.numpy() * 2)

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.convolution, self.head = nn.Conv2d(3, 4, 3), head(4)

            def forward(self, x):
                return self.head(Hidden.apply(self.convolution(x)))

        with pytest.raises(TraceError, match="a custom operation, TorchScript or numpy made"):
            DiscernibleNeurons(Model().eval()).attribute(images(), target=0)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (torch.rand(2, 3, 12), "can take"),
            (torch.rand(2, 12), "images"),
            ((images(), images()), "images"),
            (torch.zeros(2, 3, 12, 12, dtype=torch.int64), "can take"),
            (torch.zeros(0, 3, 12, 12), "at least one"),
            (torch.full((1, 3, 12, 12), torch.nan), "finite"),
            (torch.rand(2, 5, 12, 12), "can take"),
        ],
    )
    def test_inputs(self, given, message):
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), head(5)).eval()
        with pytest.raises(InputError, match=message):
            DiscernibleNeurons(model).attribute(given, target=0)

    @pytest.mark.parametrize("target", [4, -1, [0, 1, 2], "cat"])
    def test_targets(self, target):
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), head(5)).eval()
        with pytest.raises(TargetError, match="target"):
            DiscernibleNeurons(model).attribute(images(), target=target)

    @pytest.mark.parametrize(
        "options", [{"top_k": 0}, {"linear_top_k": 0}, {"places": 0}, {"places": 1.5}, {"top_k": 2.5}]
    )
    def test_options(self, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            DiscernibleNeurons(nn.Conv2d(3, 5, 3), **options)


def test_nothing_that_speaks_for_a_class_gives_an_empty_trace():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), head(5)).eval()
    with torch.no_grad():
        model[2][2].weight[1] = -1.0
    trace = DiscernibleNeurons(model).trace(images(), target=[0, 1])
    maps = DiscernibleNeurons(model).attribute(images(), target=[0, 1])
    assert not len(trace.layers["input"].of_image(1))
    assert trace.boxes()[1].isnan().all()
    assert not maps[1].any()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_no_gradient_is_needed(mode):
    model = seeded(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), head(5))).eval()
    expected = DiscernibleNeurons(model).attribute(images())
    with mode():
        assert torch.equal(DiscernibleNeurons(model).attribute(images()), expected)
    assert not expected.requires_grad


def test_captums_metrics_and_pictures_take_the_maps():
    model = seeded(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), head(5))).eval()
    method, given = DiscernibleNeurons(model), images()
    maps = method.attribute(given, target=1)
    torch.manual_seed(0)
    assert sensitivity_max(method.attribute, given, target=1).shape == (2,)
    noisy = infidelity(model, lambda x: (0.01 * torch.ones_like(x), x - 0.01), given, maps, target=1)
    assert torch.isfinite(noisy).all()
    figure, _ = visualization.visualize_image_attr(
        maps[0].permute(1, 2, 0).numpy(), given[0].permute(1, 2, 0).numpy(), sign="positive", use_pyplot=False
    )
    assert figure.axes


def test_saved_and_loaded(tmp_path):
    model = seeded(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), head(5))).eval()
    trace = DiscernibleNeurons(model).trace(images())
    trace.save(tmp_path / "trace.safetensors")
    loaded = Trace.load(tmp_path / "trace.safetensors")
    assert loaded.to_table() == trace.to_table()
    assert torch.equal(loaded.heatmap(), trace.heatmap())
    assert loaded.shape == trace.shape
    with pytest.raises(ValueError, match=r"no\.safetensors"):
        Trace.load(tmp_path / "no.safetensors")
