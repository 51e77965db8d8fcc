"""Compare against its methods and metrics called one by one, with and without sharing passes between the methods.

python tests/benchmarks/comparison.py [--device cuda] [--rounds 5] [--clock processor] [CASE ...]
"""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from unittest.mock import patch

import torch
from captum.attr import IntegratedGradients
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from harness import begin, median_seconds, peak_of, print_header
from torch import Tensor, nn
from torchvision import models

from captum_paramsal import Reference
from captum_paramsal.comparison import compare, preset
from captum_paramsal.metrics import (
    Case,
    Deletion,
    Infidelity,
    InputMaps,
    Insertion,
    Sensitivity,
    SharedPasses,
    Sparsity,
)

CASES = {"squeezenet1_1": 16, "resnet18": 8}  # images
SIZE, BATCH = 224, 8
PRESETS = ("grad_cam", "saliency", "input_space_saliency", "discernible_neurons", "random")
# Fewer copies and steps than the defaults, so that what is added to them weighs more.
COPIES, EXPLAINED, STEPS = 4, 1, 4
OF_MAPS = (Deletion(steps=STEPS), Insertion(steps=STEPS), Sparsity())
METRICS = (Infidelity(samples=COPIES), Sensitivity(samples=EXPLAINED), *OF_MAPS)
LIMIT = 1.1
CAPTUM, SHARED, COMPARE = "one by one, nothing shared", "one by one, passes shared", "compare"


def methods_of(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, InputMaps]:
    reference = Reference.fit(model, [(images, labels)], show_progress=False)
    methods = {name: preset(name, model, reference) for name in PRESETS}
    return methods | {"integrated_gradients": InputMaps(IntegratedGradients(model), n_steps=4)}


def without_squares(inputs: Tensor) -> Tensor:
    """Copies that lack a square of a quarter of the side."""
    copies, side = inputs.clone(), SIZE // 4
    for copy, (y, x) in zip(copies, torch.randint(SIZE - side + 1, (len(inputs), 2)).tolist(), strict=True):
        copy[:, y : y + side, x : x + side] = 0
    return copies


def by_captum(model: nn.Module, methods: Mapping[str, InputMaps], images: Tensor, labels: Tensor) -> None:
    """Captum's metrics as they are, and those that it does not have."""
    options = {"target": labels, "max_examples_per_batch": BATCH}
    for explain in methods.values():
        maps = explain(images, target=labels)
        perturb = infidelity_perturb_func_decorator(explain.multiplies_by_inputs)(without_squares)
        with torch.no_grad():
            infidelity(model, perturb, images, maps, n_perturb_samples=COPIES, normalize=True, **options)
        sensitivity_max(explain, images, n_perturb_samples=EXPLAINED, **options)
        case = Case(model, images, labels, maps, explain, max_examples_per_batch=BATCH)
        for metric in OF_MAPS:
            metric.score(case)
    baselines(case)


def by_case(model: nn.Module, methods: Mapping[str, InputMaps], images: Tensor, labels: Tensor) -> None:
    """Our metrics, each called on each method's maps."""
    shared = SharedPasses()
    for explain in methods.values():
        case = Case.of(model, explain, images, labels, max_examples_per_batch=BATCH, shared=shared)
        for metric in METRICS:
            metric.score(case)
    baselines(case)


def baselines(case: Case) -> None:
    """What the table shows beside the methods: deletion and insertion in a random order."""
    for metric in METRICS:
        metric.baselines(case)


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    model = models.get_model(case, weights=None).to(device).eval()
    images = torch.randn(CASES[case], 3, SIZE, SIZE, device=device)
    labels = torch.arange(len(images), device=device)
    methods = methods_of(model, images, labels)

    def in_batches(run: Callable[..., None]) -> None:
        for some, classes in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            run(model, methods, some, classes)

    return {
        CAPTUM: partial(in_batches, by_captum),
        SHARED: partial(in_batches, by_case),
        COMPARE: lambda: compare(
            methods, model, images, labels, metrics=METRICS, batch_size=BATCH, show_progress=False
        ),
    }


def main() -> None:
    # On a busy machine the time of the processor says more; it is that of all threads, so run one.
    arguments = begin(__doc__, list(CASES), rivals, {"clock": "wall"})
    clock = time.process_time if arguments.clock == "processor" else time.perf_counter
    device = arguments.device
    print_header("case", "rival", "seconds", f"of {SHARED}", "peak MiB")
    for case in arguments.cases:
        with patch("harness.time.perf_counter", clock):
            seconds = median_seconds(rivals(case, device), arguments.rounds, device)
        for name, median in seconds.items():
            note = f" (limit {LIMIT:g})" if name == COMPARE else ""
            memory = peak_of(__file__, case, name, device)
            print(
                f"| {case} | {name} | {median:.3f} | {median / seconds[SHARED]:.3f}{note} | {memory:.0f} |", flush=True
            )


def unmeasured(run: Callable[[], object], _: torch.device) -> tuple[object, float, float]:
    return run(), 0.0, 0.0


if __name__ == "__main__":
    if "--memory-of" in sys.argv:
        # Compare forgets the process's peak before every map, to measure the map's own.
        with patch("captum_paramsal.comparison.batch_scores.measured", unmeasured):
            main()
    else:
        main()
