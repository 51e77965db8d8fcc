"""The small vision transformer of ``vision_transformer.md``: torchvision's, with a convolutional stem, on CIFAR-10."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cifar10 import cifar10_pictures
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer
from tqdm.auto import tqdm

__all__ = ["DEPTH", "HEADS", "SIDE", "Schedule", "small_transformer", "train", "trained"]

LOG = logging.getLogger("small_transformer")
DEPTH, HEADS, WIDTH, SIDE, BORDER = 4, 4, 64, 32, 2


@dataclass(frozen=True)
class Schedule:
    """How the network is trained.

    Attributes:
        epochs: Times that each image is seen.
        batch: Images of a step.
        rate: Highest learning rate; it rises over the first fifth of the steps and falls to 0.
        decay: Weight decay of AdamW.
        compiled: Whether the steps are compiled, which takes a C++ compiler and a fifth less time.
    """

    epochs: int = 15
    batch: int = 128
    rate: float = 2e-3
    decay: float = 0.05
    compiled: bool = False


def small_transformer() -> VisionTransformer:
    """A ViT of 4 blocks of 4 heads, 64 tokens of 4 x 4 pixels and a class token; three 3 x 3 convolutions make them."""
    return VisionTransformer(
        image_size=SIDE,
        patch_size=4,
        num_layers=DEPTH,
        num_heads=HEADS,
        hidden_dim=WIDTH,
        mlp_dim=2 * WIDTH,
        num_classes=10,
        conv_stem_configs=[ConvStemConfig(32, 3, 2), ConvStemConfig(64, 3, 1), ConvStemConfig(64, 3, 2)],
    )


def trained(file: Path, data: Path, schedule: Schedule) -> VisionTransformer:
    """The network in evaluation mode: that of an earlier run, or trained now."""
    torch.manual_seed(0)
    model = small_transformer()
    if not file.exists():
        train(model, *cifar10_pictures(data, "train", np.arange(50_000)), schedule, file)
    load_model(model, file)
    return model.eval()


def train(model: nn.Module, images: Tensor, labels: Tensor, schedule: Schedule, file: Path) -> None:
    """Train on random crops and mirror images, and save the weights.

    The weights after each epoch are in the file with ``.epoch`` before its suffix.
    """
    steps = schedule.epochs * (len(labels) // schedule.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.rate, total_steps=steps, pct_start=0.2)
    generator = torch.Generator().manual_seed(0)
    run = torch.compile(model.train()) if schedule.compiled else model.train()
    for epoch in range(schedule.epochs):
        began, right, seen = time.perf_counter(), 0, 0
        for inputs, targets in tqdm(_batches(images, labels, schedule.batch, generator), desc=f"epoch {epoch}"):
            scores = run(inputs)
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(scores, targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rates.step()
            right += int((scores.argmax(dim=1) == targets).sum())
            seen += len(targets)
        save_model(model, file.with_suffix(f".epoch{file.suffix}"))
        LOG.info("epoch %d: %.1f %% right, %.0f s", epoch, 100 * right / seen, time.perf_counter() - began)
    save_model(model, file)


def _batches(images: Tensor, labels: Tensor, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image once in random order, cropped at random from a border of 2 pixels, half of them mirrored."""
    order = torch.randperm(len(labels), generator=generator)
    for chosen in order[: len(order) // size * size].split(size):
        padded = pad(images[chosen], (BORDER,) * 4)
        top, left = torch.randint(2 * BORDER + 1, (2, size, 1), generator=generator)
        columns = left + torch.arange(SIDE)
        mirrored = torch.rand(size, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
        rows = top + torch.arange(SIDE)
        yield (
            padded[
                torch.arange(size)[:, None, None, None],
                torch.arange(3)[:, None, None],
                rows[:, None, :, None],
                columns[:, None, None, :],
            ],
            labels[chosen],
        )
