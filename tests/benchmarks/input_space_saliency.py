"""Input-space saliency against an ordinary training step, and the published batch-of-one double backward pass.

python tests/benchmarks/input_space_saliency.py [--device cuda] [--rounds 5] [CASE ...]
"""

import argparse
import json
from collections.abc import Callable

import torch
from harness import in_fresh_process, machine, median_seconds, peak_mebibytes
from parameter_saliency import CASES, training_step
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", help="measure the peak memory of one rival in this process and print it")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.memory_of:
        run = rivals(arguments.cases[0], device)[arguments.memory_of]
        print(json.dumps({"MiB": peak_mebibytes(run, device)}))
        return
    print(machine(device))
    print("| case | rival | seconds | of a training step | peak MiB | of its peak |\n|---|---|---|---|---|---|")
    for case in arguments.cases:
        seconds = median_seconds(rivals(case, device), arguments.rounds, device)
        memory = {
            name: in_fresh_process(__file__, case, "--device", arguments.device, "--memory-of", name)["MiB"]
            for name in seconds
        }
        for name, median in seconds.items():
            ratio, share = median / seconds["training step"], memory[name] / memory["training step"]
            limit = f" (limit {LIMIT:g})" if name == "input-space saliency" else ""
            row = f"{median:.3f} | {ratio:.2f}{limit} | {memory[name]:.0f} | {share:.2f}"
            print(f"| {case} | {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
