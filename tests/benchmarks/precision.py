"""What bfloat16, half precision and TF32 cost in exactness, and gain in time: saliency against double precision.

python tests/benchmarks/precision.py [--device cuda] [--rounds 5] [--quick] [CASE ...]

The first two cases are trained networks on real images, from the folder that PARAMSAL_DATA names, and are left out
without it. The z-scores of a precision are those by a reference that was taken in it. TF32, which is TensorFloat-32,
and half precision are tried on a GPU alone.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from harness import QUICK, begin, calibrated, median_seconds, print_header
from torch import Tensor, nn
from torchvision import models

sys.path.append(str(Path(__file__).parents[1]))

from cases import real_models

from captum_paramsal import ParameterSaliency
from captum_paramsal.functional import standardize

DATA = Path(os.environ.get("PARAMSAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
BATCH, TOP = 16, 10
CASES = {"squeezenet1_1, photos": 128, "resnet20, CIFAR-10": 512, "resnet50, noise": 32, QUICK: 8}
"""Images: the first half is scored, the second is the reference."""

REAL = ("squeezenet1_1, photos", "resnet20, CIFAR-10")
EXACT, SINGLE = "float64", "float32"


@dataclass(frozen=True)
class Precision:
    """One way to compute.

    Attributes:
        dtype: Of weights and images.
        around: What is entered around a call.
    """

    dtype: torch.dtype = torch.float32
    around: Callable[[], AbstractContextManager[object]] = nullcontext


@contextmanager
def tensor_float(*, allowed: bool) -> Iterator[None]:
    """Products of matrices and convolutions in TF32, or not at all."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def precisions(device: torch.device) -> dict[str, Precision]:
    autocast = partial(torch.autocast, device.type)
    everywhere = {
        EXACT: Precision(torch.float64),
        SINGLE: Precision(around=partial(tensor_float, allowed=False)),
        "bfloat16 by autocast": Precision(around=partial(autocast, dtype=torch.bfloat16)),
        "bfloat16 weights and images": Precision(torch.bfloat16),
    }
    if device.type != "cuda":
        return everywhere
    return everywhere | {
        "float32 with TF32": Precision(around=partial(tensor_float, allowed=True)),
        "float16 by autocast": Precision(around=partial(autocast, dtype=torch.float16)),
        "float16 weights and images": Precision(torch.float16),
    }


def inputs_of(case: str) -> tuple[nn.Module, Tensor, Tensor]:
    """Model, images and labels of a case."""
    torch.manual_seed(0)
    count = CASES[case]
    if case == REAL[0]:
        return real_models.squeezenet(DATA), *real_models.imagenet(DATA, count)
    if case == REAL[1]:
        return real_models.resnet20(DATA), *real_models.cifar10(DATA, count)
    name, size = ("squeezenet1_1", 64) if case == QUICK else ("resnet50", 224)
    images = torch.randn(count, 3, size, size)
    return calibrated(models.get_model(name, weights=None), images[:BATCH]), images, torch.arange(count) % 10


def rivals(case: str, device: torch.device) -> dict[str, Callable[..., Tensor]]:
    """Profiles of so many images of a case, one batch after the other, in each precision."""
    model, images, labels = inputs_of(case)

    def profiles(precision: Precision, model: nn.Module, images: Tensor, count: int = BATCH) -> Tensor:
        saliency, found = ParameterSaliency(model), []
        batches = images[:count].split(BATCH), labels[:count].to(device).split(BATCH)
        for some, classes in zip(*batches, strict=True):
            with precision.around():
                found.append(saliency.attribute(some, classes))
        return torch.cat(found)

    ways = precisions(device)
    twins = {dtype: deepcopy(model).to(device, dtype) for dtype in {way.dtype for way in ways.values()}}
    return {name: partial(profiles, way, twins[way.dtype], images.to(device, way.dtype)) for name, way in ways.items()}


def ranks(rows: Tensor) -> Tensor:
    """Rank of each number in its row; equal ones, which are rare, in the order of their columns."""
    return rows.argsort(dim=1, stable=True).argsort(dim=1).double()


def rank_correlation(rows: Tensor, others: Tensor) -> float:
    """Spearman's, the mean over the rows."""
    one, other = (ranks(values) - (values.shape[1] - 1) / 2 for values in (rows, others))
    return float(((one * other).sum(dim=1) / (one.norm(dim=1) * other.norm(dim=1))).mean())


def agreement(rows: Tensor, others: Tensor) -> float:
    """Share of the highest of each row that are among the highest of the other."""
    one, other = (values.topk(TOP, dim=1).indices for values in (rows, others))
    return float((one[:, :, None] == other[:, None]).any(dim=2).double().mean())


def scores_of(profiles: Tensor) -> tuple[Tensor, Tensor]:
    """Profiles and z-scores of the first half of the images, by the second."""
    scored, reference = profiles.detach().double().cpu().chunk(2)
    return scored, standardize(scored, reference.mean(dim=0), reference.std(dim=0))


def compared(profiles: Tensor, exact: Tensor) -> Mapping[str, str]:
    """What is said of a precision."""
    (own, own_z), (true, true_z) = scores_of(profiles), scores_of(exact)
    error = ((own - true).norm(dim=1) / true.norm(dim=1)).nan_to_num(torch.inf)
    return {
        "error of a profile, median": f"{float(error.median()):.1e}",
        "largest": f"{float(error.max()):.1e}",
        "rank correlation": f"{rank_correlation(own, true):.4f}",
        f"top {TOP} alike": f"{agreement(own, true):.3f}",
        "of z-scores: rank correlation": f"{rank_correlation(own_z, true_z):.4f}",
        f"of z-scores: top {TOP} alike": f"{agreement(own_z, true_z):.3f}",
    }


def main() -> None:
    arguments = begin(__doc__, list(CASES), rivals)
    device, begun = arguments.device, False
    for case in arguments.cases:
        if case in REAL and not (DATA / "models").is_dir():
            print(f"{case}: left out, since '{DATA}' has no models and images (set PARAMSAL_DATA)\n", flush=True)
            continue
        runs = rivals(case, device)
        profiles = {name: run(count=CASES[case]) for name, run in runs.items()}
        seconds = median_seconds({name: run for name, run in runs.items() if name != EXACT}, arguments.rounds, device)
        for name, median in seconds.items():
            facts = compared(profiles[name], profiles[EXACT])
            if not begun:
                print_header("case", "precision", *facts, "ms per image", f"of {SINGLE}")
                begun = True
            each = 1e3 * median / min(BATCH, CASES[case])
            cells = (*facts.values(), f"{each:.1f}", f"{median / seconds[SINGLE]:.2f}")
            print(f"| {case} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
