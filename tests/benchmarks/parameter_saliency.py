"""Saliency profiles against an ordinary training step, the batch-of-one loop and ``vmap(grad)``.

python tests/benchmarks/parameter_saliency.py [--device cuda] [--rounds 5] [--quick] [CASE ...]
"""

from collections.abc import Callable

import torch
from harness import QUICK, begin, calibrated, median_seconds, peak_of, print_header, ratio_of
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torchvision import models

from captum_paramsal import ParameterSaliency
from captum_paramsal.functional import fused_products
from captum_paramsal.stats import Moments

CASES = {
    "resnet50": ("resnet50", 8, 224),
    "vgg16": ("vgg16", 4, 224),
    "mobilenet_v2": ("mobilenet_v2", 8, 224),
    "resnet18_small": ("resnet18", 32, 64),
    "vit_b_16": ("vit_b_16", 8, 224),
    "swin_t": ("swin_t", 8, 224),
    "resnet50_large": ("resnet50", 64, 224),
    QUICK: ("squeezenet1_1", 2, 64),
}
ON_GPU = ("resnet50_large",)
"""Batches that a GPU is not idle with."""

LIMITS = {"resnet50": 1.15, "vgg16": 1.2, "mobilenet_v2": 1.1, "resnet18_small": 2.5, "vit_b_16": 1.2, "swin_t": 1.2}
AIM = 20
"""Times faster than the batch-of-one loop on a GPU, on ResNet-50."""

LOOP = "batch of one"


def training_step(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """Forward and backward of the mean loss, every parameter with a gradient, as a training loop does it."""

    def run() -> None:
        model.train()
        model.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        model.zero_grad()
        model.eval()

    return run


def scored_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights whose filters are scored by default: of convolutions, of Linear layers at tokens, of attention."""
    layers = ParameterSaliency(model).filters.layers
    return {
        f"{layer}.{name}": weight
        for layer in layers
        for name, weight in model.get_submodule(layer).named_parameters(recurse=False)
        if weight.ndim > 1
    }


def batch_of_one(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """The published way: one image at a time, gradients of all scored weights, mean absolute value per row."""
    weights = [*scored_weights(model).values()]

    def one(image: Tensor, label: Tensor) -> Tensor:
        loss = functional.cross_entropy(model(image[None]), label[None])
        return torch.cat([g.flatten(1).abs().mean(dim=1) for g in torch.autograd.grad(loss, weights)])

    return lambda: torch.stack([one(image, label) for image, label in zip(images, labels, strict=True)])


def vmap_of_grad(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """Per-sample gradients by ``torch.func``."""
    weights = {name: weight.detach() for name, weight in scored_weights(model).items()}

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, weights, image[None]), label[None])

    def run() -> Tensor:
        gradients = vmap(grad(loss), in_dims=(None, 0, 0))(weights, images, labels)
        return torch.cat([g.flatten(2).abs().mean(dim=2) for g in gradients.values()], dim=1)

    return run


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    name, count, size = CASES[case]
    images = torch.randn(count, 3, size, size, device=device)
    model = calibrated(models.get_model(name, weights=None).to(device), images)
    labels = torch.arange(count, device=device)
    saliency = ParameterSaliency(model)
    seen: list[Moments] = []

    def streamed() -> None:
        rows = Moments.of(saliency.attribute(images, labels))
        seen[:] = [seen[0].merge(rows) if seen else rows]

    def fused() -> Tensor:
        with fused_products():
            return saliency.attribute(images, labels)

    return {
        "training step": training_step(model, images, labels),
        "saliency": lambda: saliency.attribute(images, labels),
        "saliency, fused": fused,
        "saliency with statistics": streamed,
        LOOP: batch_of_one(model, images, labels),
        "vmap(grad)": vmap_of_grad(model, images, labels),
    }


def main() -> None:
    arguments = begin(__doc__, list(CASES), rivals, {"without": ""}, on_gpu=ON_GPU)  # rivals to leave out, by commas
    device = arguments.device
    columns = ("seconds", "of a training step", "times faster than the loop", "peak MiB", "of its peak")
    print_header("case", "rival", *columns)
    for case in arguments.cases:
        ran = {k: v for k, v in rivals(case, device).items() if k not in arguments.without.split(",")}
        seconds = median_seconds(ran, arguments.rounds, device)
        memory = {name: peak_of(__file__, case, name, device) for name in seconds}
        for name, median in seconds.items():
            ratio, share = median / seconds["training step"], ratio_of(memory[name], memory["training step"])
            limit = f" (limit {LIMITS[case]})" if name == "saliency" and case in LIMITS else ""
            times = f"{seconds[LOOP] / median:.2f}{_aim(case, name, device)}" if LOOP in seconds else ""
            row = f"{median:.3f} | {ratio:.2f}{limit} | {times} | {memory[name]:.0f} | {share:.2f}"
            print(f"| {case} | {name} | {row} |", flush=True)


def _aim(case: str, name: str, device: torch.device) -> str:
    return f" (aim {AIM})" if device.type == "cuda" and name == "saliency" and case.startswith("resnet50") else ""


if __name__ == "__main__":
    main()
