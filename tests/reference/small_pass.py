"""A small model and data set, made the same in every process, and a pass over them; run as a script by the tests."""

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, TensorDataset

from captum_paramsal import ParamsalError, Reference

IMAGES = 46


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 5, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(5, 4, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    ).eval()


def data(images: int = IMAGES) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(images, 1, 8, 8, generator=generator), torch.arange(images) % 3)


def loader(images: int = IMAGES) -> DataLoader:
    return DataLoader(data(images), batch_size=4)


class DyingAt:
    """Batches of which one ends the process, as nothing but a crash does."""

    def __init__(self, batches, number):
        self.batches, self.number = batches, number

    def __iter__(self):
        for number, batch in enumerate(self.batches):
            if number == self.number:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    def share(self, rank, size):
        return DyingAt(list(self.batches)[rank::size], self.number if rank == 1 else -1)


def killed(folder: Path, number: int) -> None:
    """A pass in one process that ends in the middle."""
    from captum_paramsal.files import checkpoint  # noqa: PLC0415

    checkpoint.SECONDS = 0.0
    checkpoint.SHARE = 1e9
    Reference.fit(
        model(),
        DyingAt(loader(), number),
        total=IMAGES,
        tail=0.2,
        exemplars=3,
        checkpoint=folder / "pass",
        show_progress=False,
    )


def shared(job: str, folder: Path, rank: int) -> None:
    """A pass of this process's share; leaves the reference, or the error."""
    folder.mkdir(exist_ok=True)
    images = 3 if job == "few" else IMAGES
    batches = {
        "loader": loader(images),
        "few": loader(images),
        "list": list(loader()),
        "stream": iter(loader()),
        "dies": DyingAt(loader(), 2),
        "raises": [(x, y if number != 3 else y + 100) for number, (x, y) in enumerate(loader())],
        "shuffled": DataLoader(data(), batch_size=4, shuffle=True),
        "differs": loader(),
    }[job]
    fraction = 0.2 if job != "differs" or rank == 0 else 0.3
    checkpoint = folder.parent / "pass" if job in ("dies", "loader") else None
    try:
        fitted = Reference.fit(
            model(),
            batches,
            total=images,
            tail=fraction,
            exemplars=3,
            checkpoint=checkpoint,
            show_progress=False,
        )
    except ParamsalError as error:
        (folder / f"error{rank}").write_text(f"{type(error).__name__}: {error}")
    else:
        fitted.save(folder / f"reference{rank}")


def main() -> None:
    folder, jobs = Path(sys.argv[1]), sys.argv[2].split(",")
    if jobs == ["killed"]:
        killed(folder, int(sys.argv[3]))
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    for job in jobs:
        shared(job, folder / job, rank)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # Without waiting for connections that a dead process left open.
    os._exit(0)
