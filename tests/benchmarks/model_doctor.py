"""Model Doctor with ten disturbed copies and with one, and as a loop of whole passes.

python tests/benchmarks/model_doctor.py [--device cuda] [--rounds 5] [--slow-rounds 1] [--quick] [CASE ...]
"""

from collections.abc import Callable

import torch
from harness import QUICK, begin, median_seconds, peak_of, print_header
from torchvision import models

from captum_paramsal import ModelDoctor

CASES = {name: (8, 224, layer) for name, layer in (("resnet50", "layer4"), ("vgg16", None), ("squeezenet1_1", None))}
CASES |= {QUICK: (2, 64, None), "resnet50, layer3": (8, 224, "layer3"), "vgg16, features.28": (8, 224, "features.28")}
LIMIT = 2.0
LIMITED = ("resnet50", "vgg16", "squeezenet1_1")
ONE, TEN, LOOP = "1 copy", "10 copies", "10 whole passes"


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    count, size, layer = CASES[case]
    name = "squeezenet1_1" if case == QUICK else case.split(",", maxsplit=1)[0]
    model = models.get_model(name, weights=None).to(device).eval()
    images = torch.randn(count, 3, size, size, device=device)
    labels = torch.arange(count, device=device)
    one, ten = (ModelDoctor(model, layer, noise_samples=copies) for copies in (1, 10))
    module = model.get_submodule(ten.layer_names[0])

    def loop() -> None:
        for _ in range(10):
            kept = []

            def disturbed(_module: object, _inputs: object, output: torch.Tensor, kept: list = kept) -> torch.Tensor:
                kept.append(output + 0.1 * (2 * torch.rand_like(output) - 1))
                return kept[0].clone()

            handle = module.register_forward_hook(disturbed)
            scores = model(images).gather(1, labels[:, None])
            handle.remove()
            torch.autograd.grad(scores.sum(), kept[0])

    return {ONE: lambda: one.attribute(images, labels), TEN: lambda: ten.attribute(images, labels), LOOP: loop}


def main() -> None:
    arguments = begin(__doc__, list(CASES), rivals, {"slow_rounds": 1})  # 0 leaves the loop out
    device = arguments.device
    print_header("case", "rival", "seconds", f"of {ONE}", "peak MiB")
    for case in arguments.cases:
        entries = rivals(case, device)
        slow = entries.pop(LOOP)
        seconds = median_seconds(entries, arguments.rounds, device)
        long = median_seconds({LOOP: slow}, arguments.slow_rounds, device) if arguments.slow_rounds else {}
        for name, median in {**seconds, **long}.items():
            memory = peak_of(__file__, case, name, device)
            note = f" (limit {LIMIT:g})" if name == TEN and case in LIMITED else ""
            print(f"| {case} | {name} | {median:.3f} | {median / seconds[ONE]:.2f}{note} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
