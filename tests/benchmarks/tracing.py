"""Traces against one forward pass without gradients, and against integrated gradients with 50 steps.

python tests/benchmarks/tracing.py [--device cuda] [--rounds 5] [--slow-rounds 1] [--quick] [CASE ...]
"""

from collections.abc import Callable

import torch
from captum.attr import IntegratedGradients
from harness import begin, calibrated, median_seconds, peak_of, print_header
from parameter_saliency import CASES as SCORED, ON_GPU
from torchvision import models

from captum_paramsal import CNNFixations, DiscernibleNeurons

CASES = {**SCORED, "squeezenet1_1": ("squeezenet1_1", 8, 224)}
LIMIT = 2.5
RIVAL_LIMIT = 20.0
MEMORY_LIMIT = 1.5
RIVAL = "integrated gradients"


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    name, count, size = CASES[case]
    images = torch.randn(count, 3, size, size, device=device)
    model = calibrated(models.get_model(name, weights=None).to(device), images)
    labels = torch.arange(count, device=device)
    neurons, fixations, steps = DiscernibleNeurons(model), CNNFixations(model), IntegratedGradients(model)

    def forward() -> None:
        with torch.no_grad():
            model(images)

    def integrated() -> None:
        steps.attribute(images, target=labels, n_steps=50, internal_batch_size=count)

    return {
        "forward pass": forward,
        "discernible neurons": lambda: neurons.attribute(images, labels),
        "CNN-Fixations": lambda: fixations.attribute(images, labels),
        RIVAL: integrated,
    }


def kept_mebibytes(case: str) -> float:
    """Size of the activations that a trace keeps."""
    from captum_paramsal.graph import traced_run  # noqa: PLC0415 -- rivals run with other versions of the package too

    name, count, size = CASES[case]
    run = traced_run(models.get_model(name, weights=None).eval(), [torch.randn(count, 3, size, size)])
    kept = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
        for node, value in run.values.items()
        if node.op != "get_attr" and isinstance(value, torch.Tensor)
    }
    return sum(kept.values()) / 2**20


def main() -> None:
    arguments = begin(
        __doc__, list(CASES), rivals, {"slow_rounds": 1}, on_gpu=ON_GPU
    )  # 0 leaves integrated gradients out
    device = arguments.device
    columns = ("seconds", "of a forward pass", f"times faster than {RIVAL}", "peak MiB", "of what is kept")
    print_header("case", "rival", *columns)
    for case in arguments.cases:
        entries = rivals(case, device)
        slow = entries.pop(RIVAL)
        seconds = median_seconds(entries, arguments.rounds, device)
        long = median_seconds({RIVAL: slow}, arguments.slow_rounds, device) if arguments.slow_rounds else {}
        kept = kept_mebibytes(case)
        for name, median in {**seconds, **long}.items():
            memory = peak_of(__file__, case, name, device)
            ratio, times = median / seconds["forward pass"], long.get(RIVAL, float("nan")) / median
            limits = (LIMIT, RIVAL_LIMIT, MEMORY_LIMIT) if name == "discernible neurons" else ()
            notes = [f" (limit {limit:g})" for limit in limits] or [""] * 3
            cells = f"{median:.3f} | {ratio:.2f}{notes[0]} | {times:.0f}{notes[1]} | {memory:.0f}"
            print(f"| {case} | {name} | {cells} | {memory / kept:.2f}{notes[2]} |", flush=True)


if __name__ == "__main__":
    main()
