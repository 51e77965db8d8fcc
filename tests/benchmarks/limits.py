"""The table of limits: what each kind of work costs as a multiple of a pass that everybody knows, before and after.

Three processes take turns: the known pass, the work with the package of another checkout, and the work with this one.

python tests/benchmarks/limits.py OTHER_CHECKOUT [--device cuda] [--rounds 7] [ROW ...]
"""

import argparse
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from before_and_after import HERE, ROOT, Worker
from harness import machine, print_header


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        benchmark: Script whose rivals are run.
        case: Its case.
        rival: What is measured.
        base: What it is compared with, of the same case.
        limit: Multiple of the base that is aimed at.
        rises: Whether the aim is to be that many times faster than the base, not at most that many times as slow.
    """

    benchmark: str
    case: str
    rival: str
    base: str
    limit: float
    rises: bool = False


STEP, FORWARD, MAP = "training step", "forward pass", "input-space saliency"
ROWS = {
    **{
        f"profile, {case}": Row("parameter_saliency", case, "saliency", STEP, limit)
        for case, limit in (("resnet50", 1.0), ("resnet18_small", 1.2), ("vit_b_16", 1.1), ("swin_t", 1.1))
    },
    **{
        f"pixels, {case}": Row("input_space_saliency", case, MAP, STEP, limit)
        for case, limit in (("resnet50", 2.5), ("mobilenet_v2", 3.0), ("resnet18_small", 4.0))
    },
    **{
        f"trace, {case}": Row("tracing", case, "discernible neurons", FORWARD, limit)
        for case, limit in (("resnet50", 1.5), ("squeezenet1_1", 2.0), ("resnet18_small", 3.0))
    },
    "Model Doctor, resnet50": Row("model_doctor", "resnet50", "10 copies", "1 copy", 1.1),
    **{
        f"interventions, {case}": Row("interventions", case, "curve", "a copy for each", 8.0, rises=True)
        for case in ("squeezenet1_1, knock-out, random", "resnet18, knock-out, saliency")
    },
}


def ratios(row: Row, other: Path, rounds: int, device: torch.device) -> tuple[float, float, float]:
    """Median seconds of the base, and medians of the ratios of each round, before and after."""
    asked = ((ROOT, row.base), (other, row.rival), (ROOT, row.rival))
    workers = [Worker(root, row.benchmark, row.case, rival, device) for root, rival in asked]
    seconds = [[worker.seconds() for worker in workers] for _ in range(rounds)]
    for worker in workers:
        worker.stop()
    compared = [(base / work if row.rises else work / base) for base, *works in seconds for work in works]
    return statistics.median(one[0] for one in seconds), *(statistics.median(compared[n::2]) for n in range(2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_intermixed_args()
    sys.path.insert(0, str(HERE))
    print(machine(options.device))
    print_header("work", "compared with", "its seconds", "before", "after", "aim")
    for name in options.rows:
        row = ROWS[name]
        base, before, after = ratios(row, options.other.resolve(), options.rounds, options.device)
        aim = f"{'≥' if row.rises else '≤'} {row.limit:g}"
        print(f"| {name} | {row.base} | {base:.3f} | {before:.2f} | {after:.2f} | {aim} |", flush=True)


if __name__ == "__main__":
    main()
