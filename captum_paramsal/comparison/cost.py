"""What a call costs: time, and memory on top of what was held before."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

from captum_paramsal.metrics import Column

SECONDS = Column("seconds", "s", "lower", "Time for the map of one image, taken in batches.")

COST = (
    SECONDS,
    Column("peak memory", "MiB", "lower", "Memory for the map of one image on top of what was held, in batches."),
)

_Result = TypeVar("_Result")

_FORGET_PEAK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def measured(run: Callable[[], _Result], device: torch.device) -> tuple[_Result, float, float]:
    """Run something.

    Args:
        run: What is run.
        device: Where it works.

    Returns:
        Its result, the seconds, and the peak memory in MiB on top of what was held before; NaN where the system does
        not tell.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        held = torch.cuda.memory_allocated(device) / 2**20
        torch.cuda.reset_peak_memory_stats(device)
    else:
        held = _resident()
    start = time.perf_counter()
    result = run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device) / 2**20
    seconds = time.perf_counter() - start
    if device.type != "cuda":
        peak = _peak()
    return result, seconds, max(peak - held, 0.0) if peak == peak else peak  # noqa: PLR0124 -- NaN is not itself


def _resident() -> float:
    """Resident memory in MiB, from which on the peak counts."""
    # What was freed but is still held by the C library would hide what the next call needs; not every library has this.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _FORGET_PEAK.write_text("5")
    except OSError:
        return float("nan")
    return _field("VmRSS")


def _peak() -> float:
    return _field("VmHWM")


def _field(name: str) -> float:
    try:
        lines = _STATUS.read_text("utf-8").splitlines()
    except OSError:
        return float("nan")
    kibibytes = (int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{name}:"))
    return next(kibibytes, float("nan"))
