"""Ways to learn a network's operations: how many models they take, and what they cost over a forward pass.

python tests/benchmarks/following.py [--every 4] [NAME ...]        names of timm; see census.py
"""

import argparse
import signal
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from census import built, timm_names
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from captum_paramsal.graph import record

ROUNDS = 3
LIMIT = 120
"""Seconds after which a way is given up."""


def ways(model: nn.Module, images: Tensor) -> dict[str, Callable[[], object]]:
    batch = torch.export.Dim("batch", min=2, max=64)
    return {
        "torch.fx.symbolic_trace": lambda: fx.symbolic_trace(model),
        "torch.export, non-strict, dynamic batch": lambda: torch.export.export(
            model, (images,), dynamic_shapes=({0: batch},), strict=False
        ),
        # The parameters as arguments: as constants they would not be of its kind of tensors.
        "make_fx, symbolic sizes": lambda: make_fx(
            lambda held, x: functional_call(model, held, (x,)), tracing_mode="symbolic"
        )({**dict(model.named_parameters()), **dict(model.named_buffers())}, images),
        "recording the run": lambda: record(model, [images]),
    }


def seconds(call: Callable[[], object]) -> float:
    def give_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT)
    start = time.perf_counter()
    try:
        call()
        return time.perf_counter() - start
    finally:
        signal.alarm(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--every", type=int, default=1, help="one of so many names")
    arguments = parser.parse_args()
    taken: dict[str, list[float]] = {}
    tried = 0
    for name in (arguments.names or timm_names())[:: arguments.every]:
        try:
            model, images = built("timm", name)
        except Exception as error:  # noqa: BLE001 -- models that need another library
            print(f"{name}: not built, {type(error).__name__}")
            continue
        tried += 1
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forward = statistics.median(seconds(lambda: model(images)) for _ in range(ROUNDS))  # noqa: B023
            for way, call in ways(model, images).items():
                try:
                    rounds = ROUNDS if way == "recording the run" else 1
                    once = statistics.median(seconds(call) for _ in range(rounds))
                except Exception as error:  # noqa: BLE001 -- what cannot be captured is counted
                    print(f"{name}: {way} fails with {type(error).__name__}", flush=True)
                    continue
                taken.setdefault(way, []).append(once / forward)
    for way, ratios in taken.items():
        print(
            f"{way:42s} {len(ratios)} of {tried} models, {statistics.median(ratios):.2f} forward passes in the median"
        )


if __name__ == "__main__":
    main()
