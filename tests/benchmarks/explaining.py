"""Explain a folder of photos, against the model's own forward and backward passes over them; reading them included.

python tests/benchmarks/explaining.py [--device cuda] [--photos 1000] [--batch 32] [--clock processor] [CASE ...]

Photos are those of PARAMSAL_DATA, under as many names as are asked for, and SqueezeNet's weights are from there too;
without it both are made up, and nearly every photo is a mistake. Each way runs once, after a first one on few photos.
On a busy machine the time of the processor says more; it is that of all threads, so run one.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from harness import QUICK, begin, calibrated, print_header, wait_for
from photo_sets import DATA, opened, photo_folder
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torchvision import models

from captum_paramsal import Reference
from captum_paramsal.report import ExplainSettings, explain
from captum_paramsal.sources import LabelledPhotos, SourceBatches

CASES = {"squeezenet1_1": "squeezenet1_1", "resnet50": "resnet50", QUICK: "squeezenet1_1"}
LIMIT = 1.3
PASSES, FORWARD = "forward and backward passes", "forward passes"
FILTERS = {"pixels": False, "traces": False}
WARM = 32


@dataclass(frozen=True)
class Way:
    """One way to ask.

    Attributes:
        own: Whether the reference is taken on these very photos.
        settings: What is asked for.
        writes: Whether the report is written.
    """

    own: bool
    settings: dict[str, Any]
    writes: bool = False


WAYS = {
    "explain, reference given, filters": Way(own=False, settings=FILTERS),
    "explain, filters": Way(own=True, settings=FILTERS),
    "explain, filters and pixels": Way(own=True, settings={"traces": False}),
    "explain, filters and traces": Way(own=True, settings={"pixels": False}),
    "explain, everything, written": Way(own=True, settings={}, writes=True),
}
LIMITED = "explain, reference given, filters"


def model_of(case: str, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    model = models.get_model(CASES[case], weights=None)
    file = DATA / "models" / f"{CASES[case]}.safetensors"
    if file.is_file():
        model.load_state_dict(load_file(file))
        return model.to(device).eval()
    return calibrated(model, torch.randn(8, 3, 224, 224)).to(device)


def own_passes(photos: LabelledPhotos, model: nn.Module, size: int, *, backward: bool) -> None:
    """What a loop over the photos takes that does nothing else."""
    for inputs, labels in SourceBatches(photos, model, batch_size=size):
        with torch.set_grad_enabled(backward):
            loss = functional.cross_entropy(model(inputs), labels)
        if backward:
            loss.backward()
            model.zero_grad()


def ways(folder: Path, model: nn.Module, size: int) -> dict[str, Callable[[], object]]:
    photos = opened(folder)
    first = SourceBatches(photos, model, range(min(WARM, len(photos))), size)
    given = Reference.fit(model, first, tail=None, show_progress=False)

    def explained(way: Way) -> int:
        settings = ExplainSettings(batch_size=size, show_progress=False, **way.settings)
        found = explain(model, opened(folder), None if way.own else given, settings=settings)
        if way.writes:
            with tempfile.TemporaryDirectory() as name:
                found.write(name)
        return len(found.mistakes)

    return {
        FORWARD: lambda: own_passes(photos, model, size, backward=False),
        PASSES: lambda: own_passes(photos, model, size, backward=True),
        **{name: lambda way=way: explained(way) for name, way in WAYS.items()},
    }


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    """No peak is measured: the photos are on the disk."""
    raise NotImplementedError


def main() -> None:
    arguments = begin(
        __doc__, list(CASES), rivals, {"photos": 1000, "batch": 32, "clock": "wall"}, on_gpu=("resnet50",)
    )
    device = arguments.device
    clock = time.process_time if arguments.clock == "processor" else time.perf_counter
    count, size = (8, 4) if arguments.quick else (arguments.photos, arguments.batch)
    print_header("case", "what", "seconds", f"of {PASSES} (limit {LIMIT})", "mistakes")
    read = ""
    for case in arguments.cases:
        model = model_of(case, device)
        with tempfile.TemporaryDirectory() as name:
            few, all_ = Path(name, "few"), Path(name, "all")
            for folder, number in ((few, min(WARM, count)), (all_, count)):
                folder.mkdir()
                read = photo_folder(folder, number)
            for run in ways(few, model, size).values():
                run()
            seconds = {}
            for what, run in ways(all_, model, size).items():
                wait_for(device)
                start = clock()
                made = run()
                wait_for(device)
                seconds[what] = clock() - start
                ratio = f"{seconds[what] / seconds[PASSES]:.2f}" if PASSES in seconds else ""
                limited = f" (limit {LIMIT})" if what == LIMITED else ""
                print(f"| {case} | {what} | {seconds[what]:.1f} | {ratio}{limited} | {made or ''} |", flush=True)
    print(f"\nRead were {read}, in batches of {size}.")


if __name__ == "__main__":
    main()
