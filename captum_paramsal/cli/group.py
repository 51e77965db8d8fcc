"""Processes that ``torchrun`` started, as one group while a subcommand runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

import torch
from torch import distributed

from captum_paramsal.reference import ProcessGroup

_PATIENCE = timedelta(hours=2)
"""For the slowest process, which the others wait for after each batch; one that is gone is noticed at once, since its
connections close."""


@dataclass(frozen=True)
class CommandGroup(ProcessGroup):
    """The processes, and the device of this one.

    Attributes:
        device: GPU of this process; None without one, or outside of ``torchrun``.
    """

    device: str | None = None


@contextmanager
def process_group() -> Iterator[CommandGroup]:
    """Join the group that ``torchrun`` set up, or be one process alone; leave it at the end.

    A process that is told to stop (SIGTERM, which ``torchrun`` sends when another one failed) ends as after an error,
    so that its checkpoint is written.
    """
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield CommandGroup()
            return
        device = None
        if torch.cuda.is_available():
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device else "gloo", timeout=_PATIENCE)
        try:
            yield CommandGroup(distributed.get_rank(), distributed.get_world_size(), device)
        finally:
            distributed.destroy_process_group()
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
