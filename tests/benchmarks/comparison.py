"""Compare against its methods and metrics called one by one, with and without sharing passes between the methods.

python tests/benchmarks/comparison.py [--device cuda] [--rounds 5] [--clock processor] [--quick] [CASE ...]

The cases with seven methods, five metrics and 32 images are held against the sum of what each method takes by itself.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from unittest.mock import patch

import torch
from captum.attr import IntegratedGradients
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from harness import QUICK, begin, median_seconds, peak_of, print_header
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

SIX = ("grad_cam", "saliency", "input_space_saliency", "discernible_neurons", "random")
"""Presets; integrated gradients in a few steps are the sixth method."""

SEVEN = (*SIX, "model_doctor")
CASES = {
    "squeezenet1_1": (16, SIX, 224),
    "resnet18": (8, SIX, 224),
    "squeezenet1_1, seven": (32, SEVEN, 224),
    "resnet18, seven": (32, SEVEN, 224),
    QUICK: (2, ("grad_cam", "random"), 64),
}
"""Images, methods, and pixels of a side."""

NAMED = ("squeezenet1_1, seven", "resnet18, seven")
"""Cases that take long, on a CPU, and are only run where they are named."""

BATCH = 8
# Fewer copies and steps than the defaults, so that what is added to them weighs more.
COPIES, EXPLAINED, STEPS = 4, 1, 4
OF_MAPS = (Deletion(steps=STEPS), Insertion(steps=STEPS), Sparsity())
METRICS = (Infidelity(samples=COPIES), Sensitivity(samples=EXPLAINED), *OF_MAPS)
LIMIT, LIMIT_OF_SUM = 1.1, 1.2
CAPTUM, SHARED, COMPARE = "one by one, nothing shared", "one by one, passes shared", "compare"
EACH, MAPS = "each method by itself, the sum", "the methods' maps alone, the sum"


def methods_of(presets: Sequence[str], model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, InputMaps]:
    batches = [*zip(images.split(BATCH), labels.split(BATCH), strict=True)]
    reference = Reference.fit(model, batches, tail=None, show_progress=False)
    methods = {name: preset(name, model, reference) for name in presets}
    return methods | {"integrated_gradients": InputMaps(IntegratedGradients(model), n_steps=4)}


def without_squares(inputs: Tensor) -> Tensor:
    """Copies that lack a square of a quarter of the side."""
    copies, size = inputs.clone(), inputs.shape[-1]
    side = size // 4
    for copy, (y, x) in zip(copies, torch.randint(size - side + 1, (len(inputs), 2)).tolist(), strict=True):
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


def by_itself(model: nn.Module, methods: Mapping[str, InputMaps], images: Tensor, labels: Tensor) -> None:
    """What each method takes where there is no other one: its maps, and all metrics of them; the baselines once."""
    for explain in methods.values():
        case = Case.of(model, explain, images, labels, max_examples_per_batch=BATCH, shared=SharedPasses())
        for metric in METRICS:
            metric.score(case)
    baselines(case)


def maps_alone(_: nn.Module, methods: Mapping[str, InputMaps], images: Tensor, labels: Tensor) -> None:
    """The maps of each method, without a metric."""
    for explain in methods.values():
        explain(images, target=labels)


def baselines(case: Case) -> None:
    """What the table shows beside the methods: deletion and insertion in a random order."""
    for metric in METRICS:
        metric.baselines(case)


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    count, presets, size = CASES[case]
    name = "squeezenet1_1" if case == QUICK else case.split(",", maxsplit=1)[0]
    model = models.get_model(name, weights=None).to(device).eval()
    images = torch.randn(count, 3, size, size, device=device)
    labels = torch.arange(len(images), device=device)
    methods = methods_of(presets, model, images, labels)

    def in_batches(run: Callable[..., None]) -> None:
        for some, classes in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            run(model, methods, some, classes)

    by_captum_too = {} if presets is SEVEN else {CAPTUM: partial(in_batches, by_captum)}
    alone = {EACH: partial(in_batches, by_itself), MAPS: partial(in_batches, maps_alone)} if presets is not SIX else {}
    return {
        **by_captum_too,
        SHARED: partial(in_batches, by_case),
        **alone,
        COMPARE: lambda: compare(
            methods, model, images, labels, metrics=METRICS, batch_size=BATCH, show_progress=False
        ),
    }


def main() -> None:
    # On a busy machine the time of the processor says more; it is that of all threads, so run one.
    arguments = begin(__doc__, list(CASES), rivals, {"clock": "wall"}, on_gpu=NAMED)
    clock = time.process_time if arguments.clock == "processor" else time.perf_counter
    device = arguments.device
    print_header("case", "rival", "seconds", f"of {SHARED}", f"of {EACH}", "peak MiB")
    for case in arguments.cases:
        with patch("harness.time.perf_counter", clock):
            seconds = median_seconds(rivals(case, device), arguments.rounds, device)
        for name, median in seconds.items():
            memory = peak_of(__file__, case, name, device)
            shared = f"{median / seconds[SHARED]:.3f}{f' (limit {LIMIT:g})' if name == COMPARE else ''}"
            of_sum = (
                f"{median / seconds[EACH]:.3f}{f' (limit {LIMIT_OF_SUM:g})' if name == COMPARE else ''}"
                if EACH in seconds
                else ""
            )
            print(f"| {case} | {name} | {median:.3f} | {shared} | {of_sum} | {memory:.0f} |", flush=True)


def unmeasured(run: Callable[[], object], _: torch.device) -> tuple[object, float, float]:
    return run(), 0.0, 0.0


if __name__ == "__main__":
    if "--memory-of" in sys.argv:
        # Compare forgets the process's peak before every map, to measure the map's own.
        with patch("captum_paramsal.comparison.batch_scores.measured", unmeasured):
            main()
    else:
        main()
