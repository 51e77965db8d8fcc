"""One benchmark's rivals with the package of another checkout and with this one, in turn, on the same machine.

python tests/benchmarks/before_and_after.py OTHER_CHECKOUT parameter_saliency RIVAL[,RIVAL] [--rounds 7] [CASE ...]

With ``--device cuda`` on a GPU.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import torch
from harness import QUICK, wait_for

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Worker:
    """A process that runs a rival when it is asked to, with the package of one checkout."""

    def __init__(self, root: Path, benchmark: str, case: str, rival: str, device: torch.device) -> None:
        command = [sys.executable, "-W", "ignore", __file__, "--work", benchmark, case, rival, str(device)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(HERE)])}
        self._process = subprocess.Popen(  # noqa: S603 -- our own code
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def seconds(self) -> float:
        """Run it once."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def work(benchmark: str, case: str, rival: str, name: str) -> None:
    """Answer every line with the seconds of one run."""
    device = torch.device(name)
    run = import_module(benchmark).rivals(case, device)[rival]
    run()
    for _ in sys.stdin:
        wait_for(device)
        start = time.perf_counter()
        run()
        wait_for(device)
        print(time.perf_counter() - start, flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("benchmark")
    parser.add_argument("rivals")
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_intermixed_args()
    sys.path.insert(0, str(HERE))
    cases = options.cases or [case for case in import_module(options.benchmark).CASES if case != QUICK]
    print("| case | rival | before | after | after / before |\n|---|---|---|---|---|")
    for case in cases:
        for rival in options.rivals.split(","):
            roots = options.other.resolve(), ROOT
            workers = [Worker(root, options.benchmark, case, rival, options.device) for root in roots]
            rounds = [[worker.seconds() for worker in workers] for _ in range(options.rounds)]
            for worker in workers:
                worker.stop()
            before, after = (statistics.median(times) for times in zip(*rounds, strict=True))
            ratio = statistics.median(late / early for early, late in rounds)
            print(f"| {case} | {rival} | {before:.3f} s | {after:.3f} s | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main()
