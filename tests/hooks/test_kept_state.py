"""Whatever a model does while it is scored, it is as it was afterwards."""

import threading
from collections import OrderedDict

import pytest
import torch
from torch import nn

from captum_paramsal import DiscernibleNeurons, ParameterSaliency, Reference
from captum_paramsal.hooks import frozen_eval, kept_state, without_hooks
from captum_paramsal.hooks.kept_state import as_it_was

X, LABELS = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])


def around(module, channels=6):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, channels, 3), module, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, 3))


class Writes(nn.Module):
    """Writes over what it holds, in one of many ways."""

    def __init__(self, how):
        super().__init__()
        self.how, self.weight = how, nn.Parameter(torch.ones(6))
        self.register_buffer("seen", torch.zeros(6))
        self.kept = None

    def forward(self, x):
        now = x.detach().mean((0, 2, 3))
        HOW[self.how](self, now)
        return x * self.weight[:, None, None]


@torch.no_grad()
def clamp(module, _):
    module.weight.clamp_(-0.5, 0.5)


def register(module, now):
    if not hasattr(module, "late"):
        module.late = nn.Identity()
        module.register_buffer("centre", now)
        module.extra = nn.Parameter(now)


HOW = {
    "in place": lambda m, now: m.seen.mul_(0.9).add_(now),
    "through data": lambda m, now: m.seen.data.mul_(0.9).add_(now),
    "through numpy": lambda m, now: m.seen.numpy().__setitem__(..., now.numpy() if type(now) is torch.Tensor else 1),
    "another size": lambda m, _: m.seen.resize_(12),
    "another tensor": lambda m, now: setattr(m, "seen", now),
    "weight": clamp,
    "weight through data": lambda m, _: m.weight.data.mul_(0.5),
    "cache": lambda m, now: setattr(m, "kept", now),
    "new cache": lambda m, now: setattr(m, "made", now),
    "registered": register,
}


def content(model):
    plain = [
        {
            name: repr(value)
            for name, value in vars(module).items()
            if name not in ("_parameters", "_buffers", "_modules")
        }
        for module in model.modules()
    ]
    return OrderedDict((name, value.clone()) for name, value in model.state_dict().items()), plain


# With weights that each run makes smaller, no run is the one before.
@pytest.mark.filterwarnings("ignore::captum_paramsal.RandomModelWarning")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("how", HOW)
def test_what_a_forward_pass_writes_is_undone(how, training):
    model = around(Writes(how)).train(training)
    state, attributes = content(model)
    ParameterSaliency(model).attribute(X, target=LABELS)
    after, plain = content(model)
    assert list(after) == list(state)
    assert all(torch.equal(after[name], value) for name, value in state.items())
    assert plain == attributes


class Many(nn.Module):
    """Buffers of all kinds, of which a forward pass writes one."""

    def __init__(self, written):
        super().__init__()
        self.written = written
        for name, value in KINDS.items():
            self.register_buffer(name, value.clone())

    def forward(self, x):
        buffer = getattr(self, self.written)
        buffer.copy_(torch.ones_like(buffer))
        return x


KINDS = {
    "first": torch.zeros(6),
    "nan": torch.tensor([torch.nan, 0.0]),
    "none": torch.zeros(0),
    "single": torch.zeros(()),
    "count": torch.tensor(3),
    "mask": torch.zeros(2, 2, dtype=torch.bool),
    "precise": torch.zeros(3, dtype=torch.float64),
    "turned": torch.arange(6.0).view(2, 3).T,
    "large": torch.zeros(kept_state._TOGETHER_BYTES // 4 + 1),
    "some": torch.zeros(kept_state._TOGETHER_BYTES // 8 + 1),
    "rest": torch.zeros(kept_state._TOGETHER_BYTES // 8 + 1),
    "complex": torch.zeros(2, dtype=torch.complex64),
}


@pytest.mark.parametrize("written", KINDS)
def test_of_many_buffers_the_one_that_was_written_is_undone(written):
    module = Many(written)
    versions = {name: getattr(module, name)._version for name in KINDS}
    with as_it_was(module):
        module(X)
    for name, value in KINDS.items():
        found = getattr(module, name)
        torch.testing.assert_close(found, value, rtol=0, atol=0, equal_nan=True)
        assert found.stride() == value.stride()
        # A tensor that is as it was is not written, which a graph of the caller's would notice.
        assert name in (written, "nan") or found._version == versions[name]


def test_what_a_module_counts_is_its_own():
    class Counts(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x

    model = around(Counts())
    ParameterSaliency(model, layers="0").attribute(X, target=LABELS)
    assert model[1].calls > 0


def test_also_after_an_interruption():
    def interrupt(*_):
        raise KeyboardInterrupt

    model = around(Writes("in place"))
    state, attributes = content(model)
    handle = model[4].register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        ParameterSaliency(model, layers="0").attribute(X, target=LABELS)
    handle.remove()
    after, plain = content(model)
    assert all(torch.equal(after[name], value) for name, value in state.items())
    assert [{k: v for k, v in one.items() if "hook" not in k} for one in plain] == [
        {k: v for k, v in one.items() if "hook" not in k} for one in attributes
    ]


class LowRank(nn.Conv2d):
    """Merges a low-rank part into its weight for evaluation."""

    def __init__(self):
        super().__init__(6, 6, 1)
        self.left, self.right = nn.Parameter(torch.randn(6, 2)), nn.Parameter(torch.randn(2, 6))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if self.merged == mode:
            part = (self.left @ self.right).view_as(self.weight)
            self.weight.data += -part if mode else part
            self.merged = not mode
        return self


def test_what_train_and_eval_do_is_taken_back_bit_by_bit():
    model = around(LowRank()).train()
    model[0].eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    ParameterSaliency(model).attribute(X, target=LABELS)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not model[1].merged
    assert [module.training for module in model] == [False, True, True, True, True, True]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_spectral_norm_in_training_mode():
    model = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 6, 3)), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    model = nn.Sequential(model, nn.Flatten(), nn.Linear(6, 3)).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    reference = Reference.fit(model, [(X, LABELS)], show_progress=False)
    assert len(ParameterSaliency(model, reference).filters) == 6
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_hooks_of_the_owner_do_not_see_an_object_being_made():
    model, collected = around(nn.BatchNorm2d(6)), []
    model[2].register_forward_hook(lambda *given: collected.append(given))
    model[3].register_forward_pre_hook(lambda *given: collected.append(given))
    ParameterSaliency(model)
    assert not collected
    copy = without_hooks(model)
    assert copy[0].weight is model[0].weight
    assert [name for name, _ in copy.named_modules()] == [name for name, _ in model.named_modules()]
    copy(X)
    assert not collected


def test_threads_take_turns():
    model = around(nn.BatchNorm2d(6)).train()
    wanted, wrong = ParameterSaliency(model).attribute(X, target=LABELS), []
    neurons = DiscernibleNeurons(around(nn.ReLU()))

    def work():
        saliency = ParameterSaliency(model)
        for _ in range(15):
            try:
                if not torch.allclose(saliency.attribute(X, target=LABELS), wanted, rtol=1e-4, atol=1e-8):
                    wrong.append("other scores")
                neurons.trace(X[:1])
            except Exception as error:  # noqa: BLE001, PERF203
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.backends.mha.get_fastpath_enabled()


def test_one_thread_may_be_inside_twice():
    model = around(nn.ReLU())
    with frozen_eval(model), frozen_eval(model):
        assert not model.training
    assert model.training
