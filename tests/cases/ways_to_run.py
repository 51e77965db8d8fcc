"""One small classifier in every form in which people run theirs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)) + x)


class Small(nn.Module):
    """Two convolutions, a residual branch and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block = Block(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(torch.relu(self.stem(x)))
        return self.head(x.mean((2, 3)))


def small(seed: int = 0) -> Small:
    """The classifier, the same for a seed, with batch norms that have seen something."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Small()
        with torch.no_grad():
            model.train()(torch.randn(16, 3, 8, 8))
    return model.eval()


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Way:
    """A form of the classifier.

    Attributes:
        make: Makes it from the plain one, which it may change.
        same: The plain classifier with the same weights, if they are no longer those that were given.
        around: What the calls are made inside of.
        tolerance: Relative difference from the plain classifier's maps that its arithmetic has.
        names: What stands before the names of its layers.
        layers: Layers that are named, where the default would take others.
        plain_layers: The same layers of the plain classifier.
        inputs: What becomes of the images.
    """

    make: Callable[[Small], nn.Module]
    same: Callable[[nn.Module], nn.Module] | None = None
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    tolerance: float = 1e-5
    names: str = ""
    layers: tuple[str, ...] | None = None
    plain_layers: tuple[str, ...] | None = None
    inputs: Callable[[Tensor], Tensor] = lambda x: x


class Around(nn.Module):
    """The classifier inside of another module, with a change of how it is called."""

    def __init__(self, model: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.model, x)


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    with torch.no_grad():
        model(images())
    return model


def part_compiled(model: Small) -> nn.Module:
    model.block = torch.compile(model.block, backend="eager")
    return model


def part_compiled_in_place(model: Small) -> nn.Module:
    model.block.compile(backend="eager")
    with torch.no_grad():
        model(images())
    return model


@contextmanager
def process_group() -> Iterator[None]:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def weight_normed(model: Small) -> nn.Module:
    parametrizations.weight_norm(model.block.conv)
    return model


def spectrally_normed(model: Small) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parametrizations.spectral_norm(model.block.conv)
    return model.eval()


def pruned(model: Small) -> nn.Module:
    prune.l1_unstructured(model.block.conv, "weight", 0.5)
    return model


def without_parametrizations(model: nn.Module) -> nn.Module:
    """The plain classifier with the weights that such a one computes."""
    plain = small()
    with torch.no_grad():
        for name in ("stem", "block.conv", "head"):
            plain.get_submodule(name).weight.copy_(model.get_submodule(name).weight)
    return plain


def with_lora(model: Small) -> nn.Module:
    peft = pytest.importorskip("peft")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = peft.LoraConfig(target_modules=["conv"], r=2, init_lora_weights=False)
        return peft.get_peft_model(model, config).eval()


def merged_lora(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).merge_and_unload()


def in_lightning(model: Small) -> nn.Module:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    return Module().eval()


def loaded_program(model: nn.Module) -> nn.Module:
    size = torch.export.Dim("images", min=1, max=64)
    return torch.export.export(model, (images(),), dynamic_shapes=({0: size},)).module()


def under_autocast(module: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return module(x)


def checkpointed(*, reentrant: bool) -> Callable[[Small], nn.Module]:
    def make(model: Small) -> nn.Module:
        model.block = Around(model.block, lambda block, x: checkpoint(block, x, use_reentrant=reentrant))
        return model

    return make


HALF = 0.15
"""Maps in bfloat16 agree with those in single precision to about so much of their largest value."""

WAYS = {
    "plain": Way(lambda model: model),
    "compiled": Way(compiled),
    "compiled in place": Way(compiled_in_place),
    "compiled in part": Way(part_compiled),
    "compiled in part, in place": Way(part_compiled_in_place),
    "DataParallel": Way(nn.DataParallel),
    "DistributedDataParallel": Way(nn.parallel.DistributedDataParallel, around=process_group),
    "AveragedModel": Way(AveragedModel),
    "autocast around": Way(
        lambda model: model, around=lambda: torch.autocast("cpu", dtype=torch.bfloat16), tolerance=HALF
    ),
    "autocast inside": Way(lambda model: Around(model, under_autocast), tolerance=HALF, names="model."),
    "bfloat16": Way(lambda model: model.bfloat16(), tolerance=HALF, inputs=lambda x: x.bfloat16()),
    "float16": Way(lambda model: model.half(), tolerance=0.05, inputs=lambda x: x.half()),
    "channels last": Way(
        lambda model: model.to(memory_format=torch.channels_last),
        inputs=lambda x: x.contiguous(memory_format=torch.channels_last),
    ),
    "weight norm": Way(weight_normed, without_parametrizations),
    "spectral norm": Way(spectrally_normed, without_parametrizations),
    "pruned": Way(pruned, without_parametrizations),
    "LoRA": Way(
        with_lora,
        merged_lora,
        names="base_model.model.",
        layers=("base_model.model.stem", "base_model.model.block.conv.base_layer"),
    ),
    "checkpointing": Way(checkpointed(reentrant=False)),
    "reentrant checkpointing": Way(checkpointed(reentrant=True)),
    "Lightning": Way(in_lightning, names="net."),
    "exported": Way(loaded_program, layers=("stem", "block.conv")),
}

METHODS = ("saliency", "POT", "pixels", "trace", "doctor")

REFUSED = {
    ("checkpointing", "pixels"): "got activation checkpointing that cannot",
    ("reentrant checkpointing", "pixels"): "got activation checkpointing that cannot",
    ("exported", "doctor"): "no module of .* was found to return feature maps",
}
"""What is not possible, and what is said."""

ALIKE = {
    ("autocast around", "POT"),
    ("autocast around", "trace"),
    ("autocast inside", "POT"),
    ("autocast inside", "trace"),
    ("bfloat16", "POT"),
    ("bfloat16", "trace"),
    ("LoRA", "trace"),
}
"""Where a choice between values that are nearly equal falls otherwise in low precision: maps are alike, not
close; and where a trace follows an adapter beside its layer, as it ran."""
