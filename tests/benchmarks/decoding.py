"""Images per second of reading photos alone, of the model alone, and of both together.

python tests/benchmarks/decoding.py [--device cuda] [--photos 512] [--batch 32] [--rounds 5] [--quick] [CASE ...]

Photos are those of PARAMSAL_DATA, under as many names as are asked for, or made-up ones.
"""

import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from harness import QUICK, begin, calibrated, median_seconds, print_header
from photo_sets import opened, photo_folder
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from captum_paramsal import ParameterSaliency, Reference
from captum_paramsal.sources import LabelledPhotos, SourceBatches

CASES = {"squeezenet1_1": "squeezenet1_1", "resnet50": "resnet50", QUICK: "squeezenet1_1"}
ONE_THREAD, ALONE = "decoding alone, one after the other", "decoding alone"
FORWARD, STEP, SALIENCY = "forward pass", "forward and backward pass", "saliency"
TOGETHER = {FORWARD: "decoding and forward pass", STEP: "decoding and forward and backward pass", SALIENCY: "reference"}
"""What each of the model's passes is called with decoding."""


def run_over(batches: Iterable[tuple[Tensor, Tensor]], work: Callable[[Tensor, Tensor], object]) -> None:
    for inputs, labels in batches:
        work(inputs, labels)


def passes(model: nn.Module) -> dict[str, Callable[[Tensor, Tensor], object]]:
    """What the model does with a batch."""
    saliency = ParameterSaliency(model)

    def forward(inputs: Tensor, _: Tensor) -> None:
        with torch.no_grad():
            model(inputs)

    def step(inputs: Tensor, labels: Tensor) -> None:
        functional.cross_entropy(model(inputs), labels).backward()
        model.zero_grad()

    return {FORWARD: forward, STEP: step, SALIENCY: saliency.attribute}


def rivals_over(photos: LabelledPhotos, model: nn.Module, size: int) -> dict[str, Callable[[], object]]:
    batches = SourceBatches(photos, model, batch_size=size)
    kept = [(inputs, labels) for inputs, labels in SourceBatches(photos, model, range(min(size, len(photos))), size)]
    some = kept * -(-len(photos) // size)
    works = passes(model)

    def fit() -> None:
        Reference.fit(model, batches, tail=None, total=len(photos), show_progress=False)

    return {
        ONE_THREAD: lambda: [photos[position] for position in range(len(photos))],
        ALONE: lambda: [None for _ in photos.batches(size)],
        **{name: partial(run_over, some, work) for name, work in works.items()},
        TOGETHER[FORWARD]: lambda: run_over(batches, works[FORWARD]),
        TOGETHER[STEP]: lambda: run_over(batches, works[STEP]),
        TOGETHER[SALIENCY]: fit,
    }


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    """No peak is measured: the photos are on the disk."""
    raise NotImplementedError


def main() -> None:
    arguments = begin(__doc__, list(CASES), rivals, {"photos": 512, "batch": 32})
    device = arguments.device
    count, size = (8, 4) if arguments.quick else (arguments.photos, arguments.batch)
    print_header("case", "what", "images per second", "of the slower of both", "of both in turn")
    read = ""
    for case in arguments.cases:
        torch.manual_seed(0)
        model = models.get_model(CASES[case], weights=None)
        model = calibrated(model, torch.randn(8, 3, 224, 224)).to(device)
        with tempfile.TemporaryDirectory() as name:
            read = photo_folder(Path(name), count)
            runs = rivals_over(opened(Path(name)), model, size)
            seconds = median_seconds(runs, arguments.rounds, device)
        for run, median in seconds.items():
            alone = next((part for part, both in TOGETHER.items() if both == run), None)
            shares = ["", ""]
            if alone is not None:
                slower, in_turn = max(seconds[ALONE], seconds[alone]), seconds[ALONE] + seconds[alone]
                shares = [f"{slower / median:.2f}", f"{in_turn / median:.2f}"]
            print(f"| {case} | {run} | {count / median:.1f} | {' | '.join(shares)} |", flush=True)
    print(f"\nRead were {read}, in batches of {size}.")


if __name__ == "__main__":
    main()
