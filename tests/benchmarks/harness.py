"""Times and memory of rivals measured in one run, in turn, so that only their ratios matter."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Rivals: TypeAlias = Callable[[str, torch.device], dict[str, Callable[[], object]]]

QUICK = "quick"
"""Name of the case of a dry run; nobody else takes it."""


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def calibrated(model: nn.Module, images: Tensor) -> nn.Module:
    """The model in evaluation mode with batch norms that fit the images.

    Untrained networks whose norms do not have denormal weight gradients, and whatever multiplies those is slow.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def median_seconds(
    rivals: dict[str, Callable[[], object]],
    rounds: int = 5,
    device: torch.device | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median time of each rival over rounds in which every rival runs once; a first round warms up."""
    device = device or torch.device("cpu")
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for number in range(rounds + 1):
        for name, run in rivals.items():
            wait_for(device)
            start = clock()
            run()
            wait_for(device)
            if number:
                seconds[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def peak_mebibytes(run: Callable[[], object], device: torch.device | None = None) -> float:
    """Peak memory that a run adds to what the process held before; on the CPU call it in a process of its own."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    # Forget the peak of what went before: loading libraries and building the model.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def begin(
    description: str,
    cases: Sequence[str],
    rivals: Rivals,
    options: Mapping[str, Any] | None = None,
    *,
    on_gpu: Sequence[str] = (),
) -> Namespace:
    """What every benchmark does first: parse, answer if it was asked for a peak alone, and name the machine.

    Args:
        description: For the help.
        cases: Names of the cases, the quick one among them.
        rivals: Makes what is measured of a case.
        options: Further options with their defaults, such as ``{"slow_rounds": 1}``.
        on_gpu: Cases that are run on a GPU alone, unless they are named.

    Returns:
        ``cases``, ``device``, ``rounds``, ``quick`` and the options.
    """
    known = [case for case in cases if case != QUICK]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(known)}; by default those that fit the device")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a dry run on next to nothing, whose numbers say nothing")
    parser.add_argument("--memory-of", help="measure the peak memory of one rival in this process and print it")
    for name, default in (options or {}).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.cases, arguments.rounds = [QUICK], 1
    elif not arguments.cases:
        arguments.cases = [case for case in known if arguments.device.type == "cuda" or case not in on_gpu]
    if arguments.memory_of:
        run = rivals(arguments.cases[0], arguments.device)[arguments.memory_of]
        print(json.dumps({"MiB": peak_mebibytes(run, arguments.device)}))
        sys.exit()
    print(f"{machine(arguments.device)}\n", flush=True)
    return arguments


def ratio_of(value: float, whole: float) -> float:
    """A ratio; not a number where the whole is too small to be measured."""
    return value / whole if whole else float("nan")


def print_header(*columns: str) -> None:
    """First lines of a Markdown table."""
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")


def peak_of(script: str, case: str, name: str, device: torch.device) -> float:
    """Peak memory of one rival in MiB, in a process of its own; of a dry run in this one, since loading takes time."""
    if case == QUICK:
        return peak_mebibytes(import_module(Path(script).stem).rivals(case, device)[name], device)
    return in_fresh_process(script, case, "--device", str(device), "--memory-of", name)["MiB"]


def in_fresh_process(script: str, *arguments: str) -> dict[str, float]:
    """Run a benchmark script again by itself; what it prints last is JSON."""
    done = subprocess.run(  # noqa: S603 -- our own script
        [sys.executable, script, *arguments], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def machine(device: torch.device) -> str:
    """The machine in one line."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def processor() -> str:
    """What the CPU is called."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())


def _status(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 2**10
