"""The streaming part of a reference pass alone: made-up profiles through moments and tail, seconds and peak memory.

On a CPU it is counted in the seconds that this process had it, so that what else runs there changes little.

python tests/benchmarks/streaming.py [--device cuda] [--images 50000] [--filters 26560] [--tail 0.1] [--batch 32]

With ``--tail 0`` it is the moments alone. Profiles come from the device; the statistics are kept on the CPU.
"""

import argparse
import resource
import time

import torch
from harness import machine, peak_mebibytes, print_header, wait_for

from captum_paramsal.reference import ProcessGroup
from captum_paramsal.reference.statistics import Statistics
from captum_paramsal.stats import Moments, TailStream


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 50_000), ("filters", 26_560), ("batch", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--tail", type=float, default=0.1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--quick", action="store_true", help="a dry run on next to nothing, whose numbers say nothing")
    given = parser.parse_args()
    if given.quick:
        given.images, given.filters = 256, 640
    device = given.device
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    # As many different batches as need be for no tail to be that of one batch, and few enough to fit beside it.
    pool = torch.rand(4 * given.batch, given.filters, generator=generator).square_()
    taken = {"seconds": 0.0}

    def stream() -> None:
        statistics = Statistics(TailStream(given.tail, given.images) if given.tail else None)
        for start in range(0, given.images, given.batch):
            count = min(given.batch, given.images - start)
            rows = pool[torch.randperm(len(pool), generator=generator)[:count]] * (1 + start / given.images)
            rows = rows.to(device)
            wait_for(device)
            before = clock()
            statistics.add([Moments.of(rows)], rows)
            taken["seconds"] += clock() - before
        before = clock()
        statistics.gathered(single)
        taken["seconds"] += clock() - before

    single = ProcessGroup()
    peak = peak_mebibytes(stream)
    print(f"{machine(device)}\n")
    print_header(
        "images", "filters", "tail", "seconds", "images per second", "peak, MiB", "in all, MiB", "bytes per filter"
    )
    seconds = taken["seconds"]
    cells = (
        f"{given.images:,}",
        f"{given.filters:,}",
        given.tail,
        f"{seconds:.0f}",
        f"{given.images / seconds:.0f}",
        f"{peak:.0f}",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f}",
        f"{peak * 2**20 / given.filters:.0f}",
    )
    print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
