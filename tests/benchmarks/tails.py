"""Generalized Pareto fits against ``scipy.stats.genpareto.fit``, and the memory of streamed tails.

python tests/benchmarks/tails.py [--device cuda] [--rounds 5] [--quick]

Fits and streams work on the CPU, whichever device their numbers come from.
"""

import argparse
import json
import time
from collections.abc import Sequence

import torch
from harness import in_fresh_process, machine, median_seconds, peak_mebibytes, print_header, wait_for
from scipy.stats import genpareto

from captum_paramsal.stats import GeneralizedPareto, TailStream

EXCESSES = (90, 500, 5000)
LIMIT = 15.0
FILTERS = 1000
RIVAL_FILTERS = 20
"""SciPy fits one filter at a time, so fewer of them give its time per filter."""

STREAM = {"images": 10_000, "filters": 26_560, "batch": 32, "tail": 0.1}
STREAM_LIMIT = 1.5
QUICK_EXCESSES = (90,)
QUICK_IMAGES = 64


def fits(rounds: int, device: torch.device, counts: Sequence[int]) -> None:
    print_header("excesses", "fit", "ms per filter", "times faster than SciPy")
    for count in counts:
        simulated = genpareto.rvs(0.3, scale=1e-3, size=(FILTERS, count), random_state=0)
        tensor = torch.from_numpy(simulated).to(device)

        def ours(tensor=tensor):
            return GeneralizedPareto.fit(tensor)

        def scipy(simulated=simulated):
            return [genpareto.fit(row, floc=0) for row in simulated[:RIVAL_FILTERS]]

        seconds = median_seconds({"batched": ours, "SciPy": scipy}, rounds, device)
        each = {"batched": seconds["batched"] / FILTERS, "SciPy": seconds["SciPy"] / RIVAL_FILTERS}
        limit = f" (limit {LIMIT:g})" if count == 500 else ""
        for name, time_of in each.items():
            ratio = each["SciPy"] / time_of
            print(f"| {count} | {name} | {time_of * 1e3:.3f} | {ratio:.0f}{limit if name == 'batched' else ''} |")


def stream(images: int, device: torch.device) -> float:
    """Push profiles through a stream; seconds per image of it alone."""
    tails = TailStream(STREAM["tail"], images)
    generator = torch.Generator().manual_seed(0)
    spent = 0.0
    for _ in range(0, images, STREAM["batch"]):
        rows = torch.rand(STREAM["batch"], STREAM["filters"], generator=generator).to(device)
        wait_for(device)
        start = time.perf_counter()
        tails.add(rows)
        spent += time.perf_counter() - start
    start = time.perf_counter()
    tails.tail()
    return (spent + time.perf_counter() - start) / images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a dry run on next to nothing, whose numbers say nothing")
    parser.add_argument("--memory", action="store_true", help="measure the stream in this process and print it")
    arguments = parser.parse_args()
    device, images = arguments.device, QUICK_IMAGES if arguments.quick else STREAM["images"]
    if arguments.memory:
        # What the library loads at its first sort is not the stream's.
        spent = [stream(min(images, 320), device)]
        print(json.dumps({"MiB": peak_mebibytes(lambda: spent.append(stream(images, device))), "ms": spent[-1] * 1e3}))
        return
    print(f"{machine(device)}\n")
    fits(1 if arguments.quick else arguments.rounds, device, QUICK_EXCESSES if arguments.quick else EXCESSES)
    also = ["--quick"] if arguments.quick else []
    found = in_fresh_process(__file__, "--memory", "--device", str(device), *also)
    kept = STREAM["tail"] * images * STREAM["filters"] * 4 / 2**20
    print(
        f"\nStream of {images} profiles of {STREAM['filters']} filters, tail {STREAM['tail']}: "
        f"{found['MiB']:.0f} MiB, {found['MiB'] / kept:.2f} times what is kept ({kept:.0f} MiB, limit {STREAM_LIMIT}), "
        f"{found['ms']:.2f} ms per image"
    )


if __name__ == "__main__":
    main()
