"""Input-space saliency against an ordinary training step, and the published batch-of-one double backward pass.

python tests/benchmarks/input_space_saliency.py [--device cuda] [--rounds 5] [--quick] [CASE ...]
"""

from collections.abc import Callable

import torch
from harness import begin, median_seconds, peak_of, print_header, ratio_of
from parameter_saliency import CASES, ON_GPU, training_step
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from captum_paramsal import InputSpaceSaliency, ParameterSaliency
from captum_paramsal.functional import boosted_similarity

LIMIT = 5.0


def batch_of_one(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """The published way: one image at a time, gradients of all convolution weights with their graph."""
    weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d)]

    def one(image: Tensor, label: Tensor) -> Tensor:
        pixels = image[None].clone().requires_grad_()
        loss = functional.cross_entropy(model(pixels), label[None])
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        profile = torch.cat([g.abs().mean(dim=(1, 2, 3)) for g in gradients])
        return torch.autograd.grad(boosted_similarity(profile[None], 10, 100.0).sum(), pixels)[0]

    return lambda: torch.cat([one(image, label) for image, label in zip(images, labels, strict=True)])


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    name, count, size = CASES[case]
    model = models.get_model(name, weights=None).to(device).eval()
    images = torch.randn(count, 3, size, size, device=device)
    labels = torch.arange(count, device=device)
    pixels = InputSpaceSaliency(ParameterSaliency(model))
    return {
        "training step": training_step(model, images, labels),
        "input-space saliency": lambda: pixels.attribute(images, labels),
        "batch of one": batch_of_one(model, images, labels),
    }


def main() -> None:
    arguments = begin(__doc__, list(CASES), rivals, on_gpu=ON_GPU)
    device = arguments.device
    print_header("case", "rival", "seconds", "of a training step", "peak MiB", "of its peak")
    for case in arguments.cases:
        seconds = median_seconds(rivals(case, device), arguments.rounds, device)
        memory = {name: peak_of(__file__, case, name, device) for name in seconds}
        for name, median in seconds.items():
            ratio, share = median / seconds["training step"], ratio_of(memory[name], memory["training step"])
            limit = f" (limit {LIMIT:g})" if name == "input-space saliency" else ""
            row = f"{median:.3f} | {ratio:.2f}{limit} | {memory[name]:.0f} | {share:.2f}"
            print(f"| {case} | {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
