"""Train the demo's classifier; the command below wrote the committed weights.

``python -m captum_paramsal.demo.train --out captum_paramsal/demo/demo.safetensors``

It takes about a minute and a half on one core. The seeds fix scenes, first weights and order, but another
machine or another number of threads rounds otherwise, so weights trained there make somewhat other mistakes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from captum_paramsal.demo.net import DemoNet, normalize
from captum_paramsal.demo.scenes import SPLITS, Scenes, make_scenes
from captum_paramsal.errors import ParamsalError, SourceError
from captum_paramsal.files import write_tensors

BATCH_SIZE = 64
LEARNING_RATE = 3e-3  # At its highest, a third of the way through.


@dataclass(frozen=True)
class Accuracy:
    """What a classifier gets right and wrong on some scenes.

    Attributes:
        scenes: How many scenes.
        mistakes: How many of them get another class than their own.
        cue_mistakes: How many of the mistakes go to the class whose pattern the patch in the background has.
    """

    scenes: int
    mistakes: int
    cue_mistakes: int

    def __str__(self) -> str:
        """In one line.

        >>> print(Accuracy(scenes=240, mistakes=30, cue_mistakes=27))
        87.5 % of 240 right, 30 mistakes, 27 of them (90 %) for the class of the cue
        """
        right = 1 - self.mistakes / max(self.scenes, 1)
        by_cue = self.cue_mistakes / max(self.mistakes, 1)
        return (
            f"{right:.1%} of {self.scenes} right, {self.mistakes} mistakes, "
            f"{self.cue_mistakes} of them ({by_cue:.0%}) for the class of the cue"
        ).replace("%", " %")


def train(scenes: Scenes, *, epochs: int, seed: int, show_progress: bool = True) -> DemoNet:
    """A classifier trained on scenes, in evaluation mode; the caller's random state stays as it is.

    Args:
        scenes: At least one batch of 64; an epoch leaves out what does not fill its last batch.
        epochs: Passes over the scenes.
        seed: Fixes the first weights and the order.
        show_progress: Show a progress bar on standard error.

    Raises:
        ParamsalError: Fewer than 64 scenes, or no epoch.
    """
    steps = len(scenes) // BATCH_SIZE
    if steps < 1 or epochs < 1:
        message = f"Expected at least {BATCH_SIZE} scenes and 1 epoch, got {len(scenes)} and {epochs}."
        raise ParamsalError(message)
    # Channels last is about a third faster on a CPU.
    inputs = normalize(scenes.images).contiguous(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]), tqdm(total=epochs * steps, disable=not show_progress) as bar:
        torch.manual_seed(seed)
        model = DemoNet().train().to(memory_format=torch.channels_last)
        optimizer = AdamW(model.parameters())
        schedule = OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * steps)
        for _ in range(epochs):
            order = torch.randperm(len(scenes))[: steps * BATCH_SIZE]
            for batch in order.view(steps, BATCH_SIZE):
                optimizer.zero_grad()
                loss = cross_entropy(model(inputs[batch]), scenes.labels[batch])
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
                bar.update()
    return model.eval()


def tally(model: DemoNet, scenes: Scenes) -> Accuracy:
    """Count the mistakes of a classifier."""
    with torch.no_grad():
        batches = (scenes.images[start : start + 256] for start in range(0, len(scenes), 256))
        predictions = torch.cat([model(normalize(images)).argmax(1) for images in batches])
    wrong = predictions != scenes.labels
    by_cue = wrong & (predictions == scenes.cue_labels)
    return Accuracy(len(scenes), int(wrong.sum()), int(by_cue.sum()))


def run_training(arguments: Sequence[str] | None = None) -> None:
    """The command: train, count the mistakes on every split, write the weights.

    Args:
        arguments: Words of the command line; those of the process if None.

    Raises:
        SourceError: The weights cannot be written where they should go.
    """
    parser = argparse.ArgumentParser(
        prog="python -m captum_paramsal.demo.train", description="Train the demo's classifier."
    )
    parser.add_argument("--out", type=Path, default="demo.safetensors", help="file to write (%(default)s)")
    parser.add_argument("--scenes", type=int, default=SPLITS["train"]["n"], help="to train on (%(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="passes over them (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (%(default)s)")
    options = parser.parse_args(arguments)
    scenes = make_scenes(**{**SPLITS["train"], "n": options.scenes})
    model = train(scenes, epochs=options.epochs, seed=options.seed)
    tallies = {"train": tally(model, scenes)}
    tallies |= {split: tally(model, make_scenes(**SPLITS[split])) for split in ("validation", "test")}
    for split, counts in tallies.items():
        tqdm.write(f"{split}: {counts}")
    command = f"{parser.prog} --scenes {options.scenes} --epochs {options.epochs} --seed {options.seed}"
    _save(model.state_dict(), options.out, {"command": command})
    tqdm.write(str(options.out))


def _save(weights: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    try:
        write_tensors(path, weights, metadata)
    except OSError as error:
        message = f"Expected `--out` to name a file that can be written, got {path} ({error}). Name another."
        raise SourceError(message) from error


if __name__ == "__main__":
    run_training()
