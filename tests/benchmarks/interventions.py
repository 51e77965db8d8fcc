"""Fifty filters knocked out one after the other, or fine-tuned, against a copy of the model for each image and step.

The last column says what the convolutions and matrix products of the curve alone would take, were all the rest free.

python tests/benchmarks/interventions.py [--device cuda] [--rounds 5] [--quick] [CASE ...]
"""

import statistics
from collections.abc import Callable
from copy import deepcopy

import torch
from harness import QUICK, begin, median_seconds, peak_of, print_header, wait_for
from torch.profiler import ProfilerActivity, profile
from torchvision import models

from captum_paramsal import ParameterSaliency
from captum_paramsal.repair import fine_tune_curve, knock_out_curve, random_ranking

CASES = {
    f"{name}, {what}, {ranking}": (name, what, ranking)
    for name in ("squeezenet1_1", "resnet18")
    for what in ("knock-out", "fine-tuning")
    for ranking in ("saliency", "random")
}
PRODUCTS = {
    "aten::mkldnn_convolution",
    "aten::cudnn_convolution",
    "aten::_slow_conv2d_forward",
    "aten::thnn_conv2d",
    "aten::mm",
    "aten::addmm",
    "aten::bmm",
}
CASES[QUICK] = ("squeezenet1_1", "knock-out", "random")
FILTERS, FEW = 50, 2
LIMIT = 10.0
CURVE, LOOP = "curve", "a copy for each"
IMAGES = 2


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    name, what, kind = CASES[case]
    model = models.get_model(name, weights=None).to(device).eval()
    side, count = (64, FEW) if case == QUICK else (224, FILTERS)
    images = torch.randn(IMAGES, 3, side, side, device=device)
    with torch.no_grad():
        labels = (model(images).argmax(dim=1) + 1) % 1000
    saliency = ParameterSaliency(model)
    filters = saliency.filters
    ranking = saliency.attribute(images, labels) if kind == "saliency" else random_ranking(filters, IMAGES)
    run = knock_out_curve if what == "knock-out" else fine_tune_curve
    chosen = filters.top(ranking, count)

    def loop() -> None:
        for n in range(IMAGES):
            gradients = {}
            if what == "fine-tuning":
                copy = deepcopy(model)
                torch.nn.functional.cross_entropy(copy(images[n : n + 1]), labels[n : n + 1]).backward()
                gradients = {key: value.grad for key, value in copy.named_parameters()}
            with torch.no_grad():
                for k in range(count + 1):
                    copy = deepcopy(model)
                    for one in chosen[n][:k]:
                        weight = copy.get_submodule(one.layer).weight
                        if what == "knock-out":
                            weight[one.index] = 0
                        else:
                            weight[one.index] -= 0.001 * gradients[f"{one.layer}.weight"][one.index]
                    copy(images[n : n + 1])

    return {
        CURVE: lambda: run(model, images, labels, ranking, filters, k=count, show_progress=False),
        LOOP: loop,
    }


def seconds_of_products(run: Callable[[], object], device: torch.device) -> float:
    """What convolutions and matrix products take of a run."""
    # On a GPU both: kernels are counted for the operation of the host that launched them.
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=kinds) as seen:
        run()
        wait_for(device)
    events = [event for event in seen.key_averages() if event.key in PRODUCTS]
    times = (event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total for event in events)
    return sum(times) / 1e6


def main() -> None:
    arguments = begin(__doc__, list(CASES), rivals)
    device = arguments.device
    print_header("case", "rival", "seconds", f"{LOOP} / it (aim {LIMIT:g})", "peak MiB", f"{LOOP} / products of it")
    for case in arguments.cases:
        runs = rivals(case, device)
        seconds = median_seconds(runs, arguments.rounds, device)
        for name, median in seconds.items():
            memory = peak_of(__file__, case, name, device)
            products = statistics.median(seconds_of_products(runs[name], device) for _ in range(3))
            ratios = f"{seconds[LOOP] / median:.2f} | {memory:.0f} | {seconds[LOOP] / products:.2f}"
            print(f"| {case} | {name} | {median:.3f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
