"""The cost of exemplars in a reference pass: with them against without, in one run.

On a CPU it is counted in the seconds that this process had it, so that what else runs there changes little.

python tests/benchmarks/exemplars.py [--device cuda] [--rounds 5] [--quick] [CASE ...]
"""

import functools
import time
from collections.abc import Callable

import torch
from harness import QUICK, begin, calibrated, median_seconds, print_header
from torchvision import models

from captum_paramsal import Reference

CASES = {
    "squeezenet1_1": (16, 8, 227),
    "resnet18": (16, 8, 224),
    "mobilenet_v2": (16, 8, 224),
    "resnet18_small": (32, 16, 64),
    "mobilenet_v2_long": (16, 64, 224),
    "vit_b_16": (8, 4, 224),
    QUICK: (2, 2, 64),
}
"""Images of a batch, batches, and pixels of a side. In a long pass fewer images are for a while among the highest."""

KEPT = 9
LIMIT = 1.10


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    size, count, side = CASES[case]
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(size, 3, side, side, generator=generator).to(device), (torch.arange(size) % 10).to(device))
        for _ in range(count)
    ]
    name = "squeezenet1_1" if case == QUICK else case.removesuffix("_small").removesuffix("_long")
    model = calibrated(getattr(models, name)(num_classes=10).to(device), batches[0][0])
    fit = functools.partial(Reference.fit, model, batches, tail=None, show_progress=False)
    return {"without": fit, "with exemplars": functools.partial(fit, exemplars=KEPT)}


def main() -> None:
    arguments = begin(__doc__, CASES, rivals)
    print_header(
        "case", "images", "filters", "without, s", "with, s", f"ratio (limit {LIMIT})", "kept, bytes per filter"
    )
    for case in arguments.cases:
        runs = rivals(case, arguments.device)
        clock = time.process_time if arguments.device.type == "cpu" else time.perf_counter
        seconds = median_seconds(runs, arguments.rounds, arguments.device, clock)
        reference = runs["with exemplars"]()
        kept = sum(value.nbytes for value in reference.exemplar_table.to_tensors().values()) / len(reference.filters)
        one, other = seconds["without"], seconds["with exemplars"]
        images = CASES[case][0] * CASES[case][1]
        cells = case, images, len(reference.filters), f"{one:.2f}", f"{other:.2f}", f"{other / one:.3f}", f"{kept:.0f}"
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
