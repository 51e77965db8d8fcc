"""Ways to learn a network's operations: how many models they take, and what they cost over a forward pass.

python tests/benchmarks/following.py [--device cuda] [--every 4] [--limit 30] [NAME ...]

The names are those of timm; see census.py.

Each way has a process of its own, which is ended where a model takes longer than the limit.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from threading import Timer

import torch
from census import built, timm_names
from harness import wait_for
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from captum_paramsal.graph import record

ROUNDS = 3


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


def seconds(call: Callable[[], object], device: torch.device) -> float:
    wait_for(device)
    start = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - start


def tried(way: str, names: list[str], device: torch.device) -> Iterator[dict[str, object]]:
    """What each model takes, in forward passes, or what fails."""
    for name in names:
        try:
            model, images = (made.to(device) for made in built("timm", name))
        except Exception as error:  # noqa: BLE001 -- models that need another library
            yield {"name": name, "not built": type(error).__name__}
            continue
        yield {"name": name, "begun": True}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forward = statistics.median(seconds(lambda: model(images), device) for _ in range(ROUNDS))  # noqa: B023
            try:
                rounds = ROUNDS if way == "recording the run" else 1
                once = statistics.median(seconds(ways(model, images)[way], device) for _ in range(rounds))
            except Exception as error:  # noqa: BLE001 -- what cannot be captured is counted
                yield {"name": name, "fails": type(error).__name__}
                continue
        yield {"name": name, "forward passes": once / forward}


def followed(way: str, names: list[str], limit: float, device: torch.device) -> list[dict[str, object]]:
    """The same from a process of its own, which goes on after a model that takes too long."""
    rows: list[dict[str, object]] = []
    left = list(names)
    while left:
        command = [sys.executable, __file__, "--device", str(device), "--way", way, *left]
        with subprocess.Popen(  # noqa: S603 -- this very script
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            watch = Timer(limit + 60, process.kill)
            watch.start()
            for line in process.stdout or ():
                watch.cancel()
                row = json.loads(line)
                if "begun" not in row:
                    rows.append(row)
                    left.remove(row["name"])
                    print(way, row, flush=True)
                watch = Timer(limit + (0 if "begun" in row else 60), process.kill)
                watch.start()
            watch.cancel()
        if left and process.returncode:
            rows.append({"name": left.pop(0), "fails": f"not done in {limit:g} s"})
            print(way, rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--every", type=int, default=1, help="one of so many names")
    parser.add_argument("--limit", type=float, default=30, help="seconds for one model")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--way", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = (arguments.names or timm_names())[:: arguments.every]
    if arguments.way:
        for row in tried(arguments.way, names, arguments.device):
            print(json.dumps(row), flush=True)
        return
    for way in ways(nn.Identity(), torch.zeros(2, 3, 8, 8)):
        rows = [row for row in followed(way, names, arguments.limit, arguments.device) if "not built" not in row]
        taken = [float(str(row["forward passes"])) for row in rows if "forward passes" in row]
        fails = sorted({str(row["fails"]) for row in rows if "fails" in row})
        cost = f"{statistics.median(taken):.2f} forward passes in the median" if taken else ""
        print(f"{way:42s} {len(taken)} of {len(rows)} models, {cost} {', '.join(fails)}", flush=True)


if __name__ == "__main__":
    main()
