"""After a call, whether it returned or raised, everything is as it was."""

import pytest
import torch
from contract import models
from contract.closeness import assert_same
from contract.registry import built
from contract.samples import LABELS, Sample, noise, small
from contract.snapshot import causes, nothing_left_behind
from oracles.weights import seeded

from captum_paramsal import Reference


def test_after_success(entry, any_sample):
    attribution = entry.build(any_sample)
    for size in (None, 4):
        with nothing_left_behind(any_sample.model, any_sample.inputs, any_sample.target, any_sample.extra):
            attribution.attribute(**any_sample.arguments(), internal_batch_size=size)


def test_after_construction(entry, sample):
    with nothing_left_behind(sample.model, sample.inputs, sample.target):
        attribution = entry.build(sample)
    with nothing_left_behind(sample.model):
        del attribution


def messy(sample):
    """Mixed training flags and requires_grad, gradients, the user's own hooks on modules and on a parameter."""
    model = sample.model
    model.train()
    model.bn.eval()
    model.dropout.eval()
    model.conv1.weight.requires_grad_(False)
    model.fc.requires_grad_(False)
    model.conv2.weight.grad = torch.full_like(model.conv2.weight, 7)
    model.bn.weight.grad = torch.ones_like(model.bn.weight)
    model.conv1.register_forward_hook(lambda *_: None)
    model.conv2.register_forward_pre_hook(lambda *_: None)
    model.conv2.weight.register_hook(lambda g: g)
    return sample


def test_mixed_flags_gradients_and_hooks_of_the_user(entry):
    sample = messy(small())
    attribution = entry.build(sample)
    with nothing_left_behind(sample.model, sample.inputs, sample.target):
        attribution.attribute(**sample.arguments())


def test_hooks_of_the_user_still_fire_afterwards(entry, sample):
    calls = []
    sample.model.conv1.register_forward_hook(lambda *_: calls.append("conv1"))
    entry.build(sample).attribute(**sample.arguments())
    calls.clear()
    sample.model(sample.inputs)
    assert calls == ["conv1"]


@pytest.mark.parametrize("training", [True, False])
def test_buffers_that_count_calls(entry, training):
    sample = small(models.CountingNet(), "counting")
    sample.model.train(training)
    with nothing_left_behind(sample.model, sample.inputs):
        attribution = entry.build(sample)
    for size in (None, 2):
        with nothing_left_behind(sample.model, sample.inputs):
            attribution.attribute(**sample.arguments(), internal_batch_size=size)


def test_random_state_of_a_model_that_draws(entry):
    sample = small(models.DrawingNet(), "drawing")
    with nothing_left_behind(sample.model, sample.inputs):
        attribution = entry.build(sample)
    for size in (None, 2):
        with nothing_left_behind(sample.model, sample.inputs):
            attribution.attribute(**sample.arguments(), internal_batch_size=size)


def test_inputs_that_need_gradients_and_have_them(entry, sample):
    inputs = sample.inputs.clone().requires_grad_()
    inputs.grad = torch.ones_like(inputs)
    attribution = entry.build(sample)
    with nothing_left_behind(sample.model, inputs):
        result = attribution.attribute(inputs, target=sample.target)
    assert not result.requires_grad
    assert_same(result.flatten(1), attribution.attribute(**sample.arguments()).flatten(1), "inputs with gradients")


def test_inputs_inside_a_graph_of_the_user(entry, sample):
    leaf = sample.inputs.clone().requires_grad_()
    inputs = leaf * 2
    attribution = entry.build(sample)
    with nothing_left_behind(sample.model, inputs, leaf):
        attribution.attribute(inputs, target=sample.target)
    inputs.sum().backward()
    assert torch.equal(leaf.grad, torch.full_like(leaf, 2))


def test_a_graph_of_the_user_over_the_model_survives(entry, sample):
    # A call that wrote parameters or buffers in place, even with the same values, would break this backward pass.
    pending = sample.model(sample.inputs).sum()
    entry.build(sample).attribute(**sample.arguments())
    pending.backward()
    assert sample.model.conv1.weight.grad is not None


def test_the_models_gradients_are_not_needed_and_not_made(entry, sample):
    sample.model.zero_grad(set_to_none=True)
    entry.build(sample).attribute(**sample.arguments())
    assert [name for name, p in sample.model.named_parameters() if p.grad is not None] == []


def test_training_goes_on_as_if_nothing_had_been(entry):
    def train(interrupt):
        torch.manual_seed(3)
        sample = small()
        sample.model.train()
        optimizer = torch.optim.SGD(sample.model.parameters(), lr=0.1, momentum=0.9)
        attribution = entry.build(sample) if entry.kind == "layer" else None
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(sample.model(sample.inputs), sample.target).backward()
            if interrupt:
                (attribution or entry.build(sample)).attribute(**sample.arguments())
            optimizer.step()
        return sample.model.state_dict()

    plain, interrupted = train(interrupt=False), train(interrupt=True)
    for name, value in plain.items():
        assert torch.equal(interrupted[name], value), name


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_grad_modes(entry, mode):
    sample, attribution = built(entry.name, "small")
    expected = attribution.attribute(**sample.arguments())
    with mode(), nothing_left_behind(sample.model, sample.inputs):
        result = attribution.attribute(**sample.arguments())
    assert_same(result.flatten(1), expected.flatten(1), mode.__name__)
    assert not result.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_built_without_gradients(entry, sample, mode):
    kept, before = built(entry.name, "small")
    expected = before.attribute(**kept.arguments())
    with mode():
        attribution = entry.build(sample)
    assert_same(attribution.attribute(**sample.arguments()).flatten(1), expected.flatten(1), mode.__name__)


def test_evaluation_mode_results_from_a_model_in_training_mode(sample, attribute):
    expected = attribute(sample)
    sample.model.train()
    with nothing_left_behind(sample.model, sample.inputs):
        result = attribute(sample)
    assert torch.equal(result, expected)
    sample.model.eval()
    sample.model.bn.train()
    sample.model.dropout.train()
    assert torch.equal(attribute(sample), expected), "some submodules in training mode"


def test_frozen_model(sample, attribute):
    expected = attribute(sample)
    sample.model.requires_grad_(False)
    with nothing_left_behind(sample.model, sample.inputs):
        assert_same(attribute(sample), expected, "frozen")


def raised_by(call, **arguments):
    try:
        call(**arguments)
    except Exception as error:  # noqa: BLE001
        return error
    return None


@pytest.mark.parametrize(
    ("at_call", "internal_batch_size"),
    [
        (1, None),
        (3, 2),
        pytest.param(1, 2, marks=pytest.mark.slow),
        pytest.param(2, None, marks=pytest.mark.slow),
        pytest.param(3, None, marks=pytest.mark.slow),
        pytest.param(2, 2, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("where", ["forward", "function", "hook"])
def test_after_an_exception_inside(entry, where, at_call, internal_batch_size):
    sample = messy(small(models.RaisingNet("nowhere", at_call), "raising"))
    attribution = entry.build(sample)
    sample.model.trap.where = where
    with nothing_left_behind(sample.model, sample.inputs, sample.target):
        error = raised_by(attribution.attribute, **sample.arguments(), internal_batch_size=internal_batch_size)
    if error is not None:
        assert any(isinstance(cause, models.Boom) for cause in causes(error)), f"Boom is lost behind {error!r}"
        return
    # In one pass, the second and third calls do not happen; a first call always does where there is a backward pass.
    reached = at_call > 1 and sample.model.trap.left[0] > 0
    assert reached or sample.model.trap.left[0] == at_call, "an exception of the model was swallowed"
    if where == "forward":
        assert at_call > 1, "the model was never run"


@pytest.mark.parametrize("where", ["forward", "function"])
def test_an_interruption_passes_through(entry, where):
    if where == "function" and not entry.takes_gradients:
        pytest.skip(f"{entry} has no backward pass")
    sample = messy(small(models.RaisingNet("nowhere", 2, KeyboardInterrupt), "raising"))
    attribution = entry.build(sample)
    sample.model.trap.where = where
    with nothing_left_behind(sample.model, sample.inputs), pytest.raises(KeyboardInterrupt):
        attribution.attribute(**sample.arguments(), internal_batch_size=1)


def test_works_again_after_an_exception(entry):
    sample = small(models.RaisingNet("nowhere"), "raising")
    attribution = entry.build(sample)
    expected = attribution.attribute(**sample.arguments())
    sample.model.trap.where = "forward"
    with pytest.raises(Exception, match="on purpose"):
        attribution.attribute(**sample.arguments())
    sample.model.trap.where = "nowhere"
    assert torch.equal(attribution.attribute(**sample.arguments()), expected)


def failing_loss(*_):
    raise models.Boom


def loss_failing_backward(logits, target):
    layer = models.Raising("function")
    return torch.nn.functional.cross_entropy(layer(logits), target, reduction="none")


@pytest.mark.parametrize("loss", [failing_loss, loss_failing_backward])
def test_after_an_exception_of_the_loss(entry, loss):
    if not entry.takes_loss:
        pytest.skip(f"{entry} has no loss")
    sample = messy(small())
    with nothing_left_behind(sample.model, sample.inputs):
        error = raised_by(lambda: entry.build(sample, loss=loss).attribute(**sample.arguments()))
    assert error is not None, "an exception of the loss was swallowed"
    assert any(isinstance(cause, models.Boom) for cause in causes(error)), f"Boom is lost behind {error!r}"


class TestReference:
    """The same for a pass over a reference set."""

    def fit(self, sample, batches=None, **arguments):
        return Reference.fit(sample.model, batches or sample.reference_batches(), show_progress=False, **arguments)

    def test_after_success(self):
        sample = messy(small())
        with nothing_left_behind(sample.model, sample.inputs, sample.target):
            self.fit(sample)

    def test_training_mode_model(self):
        sample = small()
        expected = self.fit(sample)
        sample.model.train()
        with nothing_left_behind(sample.model):
            reference = self.fit(sample)
        assert torch.equal(reference.mean, expected.mean)
        assert torch.equal(reference.std, expected.std)

    @pytest.mark.parametrize("model", [models.CountingNet, models.DrawingNet])
    def test_buffers_and_random_state(self, model):
        sample = small(model(), "counting")
        with nothing_left_behind(sample.model, sample.inputs):
            self.fit(sample)

    @pytest.mark.parametrize("error", [models.Boom, KeyboardInterrupt])
    @pytest.mark.parametrize("at_call", [1, 2])
    @pytest.mark.parametrize("where", ["forward", "function"])
    def test_after_an_exception(self, where, at_call, error):
        sample = messy(small(models.RaisingNet("nowhere", at_call, error), "raising"))
        sample.model.trap.where = where
        with nothing_left_behind(sample.model, sample.inputs), pytest.raises(BaseException) as caught:  # noqa: PT011
            self.fit(sample, internal_batch_size=2)
        assert any(isinstance(cause, error) for cause in causes(caught.value)), f"lost behind {caught.value!r}"

    def test_after_an_exception_of_the_data(self):
        sample = messy(small())

        def batches():
            yield sample.inputs, sample.target
            raise models.Boom

        with nothing_left_behind(sample.model, sample.inputs), pytest.raises(models.Boom):
            self.fit(sample, batches(), total=2 * len(sample.inputs))

    def test_grad_modes(self):
        sample = small()
        expected = self.fit(sample)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode(), nothing_left_behind(sample.model, sample.inputs):
                reference = self.fit(sample)
            assert torch.allclose(reference.mean, expected.mean, rtol=1e-9, atol=0), mode.__name__

    def test_batches_that_draw_keep_their_own_stream(self):
        # A loader that shuffles or augments draws between batches; what it draws must not depend on us.
        sample = small()

        def drawing():
            return [(noise(4, 3, 8, 8, seed=int(torch.randint(1000, ()))), LABELS[:4]) for _ in range(3)]

        def lazily():
            for _ in range(3):
                yield noise(4, 3, 8, 8, seed=int(torch.randint(1000, ()))), LABELS[:4]

        torch.manual_seed(5)
        eager = self.fit(sample, drawing())
        torch.manual_seed(5)
        lazy = self.fit(sample, lazily(), total=12)
        assert torch.equal(lazy.mean, eager.mean)


def test_the_snapshot_sees_what_it_should():
    """A snapshot that misses something would make every test above worthless."""
    changes = {
        "training": lambda m: m.bn.train(),
        "requires_grad": lambda m: m.fc.weight.requires_grad_(False),
        "gradient": lambda m: setattr(m.fc.weight, "grad", torch.zeros_like(m.fc.weight)),
        "values": lambda m: m.fc.weight.data.add_(1e-12),
        "identity": lambda m: setattr(m.fc, "weight", torch.nn.Parameter(m.fc.weight.detach().clone())),
        "running_mean": lambda m: m.bn.running_mean.add_(1e-12),
        "_forward_hooks": lambda m: m.conv1.register_forward_hook(lambda *_: None),
        "_backward_hooks": lambda m: m.conv1.register_full_backward_hook(lambda *_: None),
        "tensor hooks": lambda m: m.conv1.weight.register_hook(lambda g: g),
        "attributes": lambda m: setattr(m.conv1.weight, "sample_grad", 1),
        "forward": lambda m: setattr(m.conv1, "forward", m.conv1.forward),
        "torch random state": lambda _: torch.rand(1),
        "deterministic": lambda _: torch.use_deterministic_algorithms(mode=True),
    }
    for name, change in changes.items():
        model = seeded(models.SmallNet().double(), noise(6, 3, 8, 8))
        try:
            with pytest.raises(AssertionError, match=name), nothing_left_behind(model):
                change(model)
        finally:
            torch.use_deterministic_algorithms(mode=False)
    sample = Sample("", model, noise(2, 3, 8, 8), 0)
    with nothing_left_behind(sample.model, sample.inputs):
        sample.model(sample.inputs)
