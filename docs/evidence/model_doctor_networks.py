"""Does Model Doctor's treatment help across networks and data? Four networks, four sets of images, three trainings.

``python docs/evidence/model_doctor_networks.py`` trains every network, treats it with each constraint and with its
controls, and writes the tables and the figure of ``model_doctor_networks.md``. Each run is written to a file when it
is done, and not made again.
"""

import argparse
import io
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cifar10 import any_of, cifar10_pictures
from model_doctor import TUNING_SEED, Arm, Images, Task, channels_last, treated, untreated
from model_doctor_tables import classes_of
from PIL import Image
from results import Results, markdown_table
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate, max_pool2d, pad
from torchvision.models import DenseNet

from captum_paramsal.demo import make_scenes, normalize
from captum_paramsal.demo.scenes import SPLITS
from captum_paramsal.stats import bootstrap_means
from captum_paramsal.viz import PALETTE, new_axes, to_png

LOG = logging.getLogger("model_doctor_networks")

SIDE = 32
MARGIN = 4
"""Pixels around the object: the paper's 30 at 224, at 32."""

RATES, CHANNEL, SPACE = (0.001, 0.0001), (0.1, 1.0), (0.3, 1.0, 10.0)
"""Learning rates and strengths that are tried on validation images, with a training that is not counted."""

VALIDATION, TEST = 500, 2000


def plain(classes: int) -> nn.Module:
    """Six convolutions with a pool between, as VGG has them."""
    layers: list[nn.Module] = []
    for wide, (before, after) in enumerate(pairwise((3, 16, 16, 32, 32, 48, 48))):
        stride = 1 + (wide == 0)
        layers += [nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        if wide == 1:
            layers.append(nn.MaxPool2d(2))
    return _with_head(nn.Sequential(*layers), 48, classes)


class Residual(nn.Module):
    """A basic block."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """``(N, after, H / stride, W / stride)``."""
        inner = self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu()))
        return (inner + self.shortcut(maps)).relu()


def residual(classes: int) -> nn.Module:
    """A stem and three basic blocks, as ResNet has them."""
    stem = [nn.Conv2d(3, 16, 3, 2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return _with_head(nn.Sequential(*stem, Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 48, 1)), 48, classes)


def depthwise(classes: int) -> nn.Module:
    """Depthwise and pointwise convolutions, as MobileNet has them."""
    layers = [nn.Conv2d(3, 16, 3, 2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    for before, after, stride in ((16, 32, 1), (32, 48, 2), (48, 48, 1), (48, 48, 1)):
        layers += [nn.Conv2d(before, before, 3, stride, padding=1, groups=before, bias=False), nn.BatchNorm2d(before)]
        layers += [nn.ReLU(), nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return _with_head(nn.Sequential(*layers), 48, classes)


def dense(classes: int) -> nn.Module:
    """Torchvision's DenseNet with two blocks of three layers, and a stem for small images."""
    network = DenseNet(growth_rate=12, block_config=(3, 3), num_init_features=16, bn_size=2)
    network.features.conv0 = nn.Conv2d(3, 16, 3, 2, padding=1, bias=False)
    network.features.pool0 = nn.Identity()
    network.features.add_module("relu", nn.ReLU())
    return _with_head(network.features, network.classifier.in_features, classes)


def _with_head(features: nn.Module, channels: int, classes: int) -> nn.Module:
    network = nn.Sequential()
    network.add_module("features", features)
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", nn.Linear(channels, classes))
    return network


NETWORKS: Mapping[str, Callable[[int], nn.Module]] = {
    "plain": plain, "residual": residual, "depthwise": depthwise, "dense": dense,
}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """How a set of images is read, how many are for training, and for how many epochs."""

    read: Callable[[Path, int], tuple[Images, Images]]
    images: int
    epochs: int


def cifar(data: Path, learn: int) -> tuple[Images, Images]:
    """CIFAR-10."""
    sizes = {"train": learn, "test": TEST}
    parts = []
    for split, count in sizes.items():
        chosen = any_of({"train": 50000, "test": 10000}[split])[:count]
        parts.append(Images(*cifar10_pictures(data, split, chosen)))
    return parts[0], parts[1]


def digits(data: Path, learn: int) -> tuple[Images, Images]:
    """MNIST, whose objects are the strokes."""
    mnist = np.load(data / "mnist" / "mnist.npz")
    parts = []
    for split, count in (("train", learn), ("test", TEST)):
        chosen = any_of(len(mnist[f"y_{split}"]))[:count]
        pixels = pad(torch.from_numpy(mnist[f"x_{split}"][chosen]).float() / 255, (2, 2, 2, 2))
        inputs = ((pixels - 0.1307) / 0.3081)[:, None].repeat(1, 3, 1, 1)
        parts.append(Images(inputs, torch.from_numpy(mnist[f"y_{split}"][chosen]).long(), pixels > 0.5))
    return parts[0], parts[1]


def pacs(data: Path, learn: int) -> tuple[Images, Images]:
    """PACS, all domains mixed; only of sketches, strokes on white, is known where the object lies."""
    archive = np.load(data / "pacs64" / "pacs64_jpeg.npz")
    files, ends = archive["jpeg"], archive["offsets"]
    chosen = any_of(len(archive["y"]))[: learn + TEST]
    opened = (Image.open(io.BytesIO(files[ends[i] : ends[i + 1]].tobytes())).convert("RGB") for i in chosen.tolist())
    photos = torch.from_numpy(np.stack([np.asarray(one) for one in opened])).permute(0, 3, 1, 2).float() / 255
    photos = interpolate(photos, size=(SIDE, SIDE), mode="area")
    sketched = torch.from_numpy(archive["domain"][chosen] == list(archive["domains"]).index("sketch"))
    # Where nothing is known, everything is foreground.
    masks = (photos.mean(dim=1) < 0.9) | ~sketched[:, None, None]
    every = Images((photos - 0.5) / 0.25, torch.from_numpy(archive["y"][chosen]).long(), masks)
    return every[:learn], every[learn:]


def scenes(data: Path, learn: int) -> tuple[Images, Images]:  # noqa: ARG001 -- as the others
    """The demo's scenes at half size: a patch goes with the class in 94 % of those for training, 60 % of the others."""
    train = make_scenes(**{**SPLITS["train"], "n": learn - VALIDATION})
    others = [make_scenes(count, seed=seed, cue_agreement=0.6) for count, seed in ((VALIDATION, 30), (TEST, 31))]
    parts = [
        Images(avg_pool2d(normalize(one.images), 2), one.labels, max_pool2d(one.masks.float(), 2) > 0, one.cue_labels)
        for one in (train, *others)
    ]
    joined = (torch.cat([getattr(part, name) for part in parts[:2]]) for name in ("inputs", "labels", "masks", "cues"))
    return Images(*joined), parts[2]


DATA: Mapping[str, Training] = {
    "CIFAR-10": Training(cifar, 8000, 10),
    "PACS": Training(pacs, 5000, 12),
    "MNIST": Training(digits, 4000, 6),
    "scenes": Training(scenes, 4000, 10),
}


def trained(make: Callable[[int], nn.Module], train: Images, epochs: int, file: Path, seed: int) -> nn.Module:
    """A network of its own training, by Adam along a cosine."""
    torch.manual_seed(seed)
    model = channels_last(make(int(train.labels.max()) + 1))
    if file.exists():
        model.load_state_dict(load_file(file))
        return model.eval()
    steps = epochs * -(-len(train) // 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        model.train()
        for chosen in torch.randperm(len(train)).split(64):
            optimizer.zero_grad()
            cross_entropy(model(train.inputs[chosen]), train.labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
    return model.eval()


@dataclass(frozen=True)
class Chosen:
    """What treats one set of images: a learning rate, and a strength for each constraint."""

    rate: float
    channel: float
    space: float


def chosen(results: Results, data: str, task: Task) -> Chosen:
    """What is best on validation images, for the plain network of seed 0, one after the other."""

    def best(name: str, values: Sequence[float], arm: Callable[[float], Arm], rates: Sequence[float]) -> float:
        found = {
            value: results.once(
                f"tuning | {data} | {name} {value:g}",
                lambda value=value, rate=rate: treated(replace(task, rate=rate), arm(value), TUNING_SEED),
            )
            for value, rate in zip(values, rates, strict=True)
        }
        return max(found, key=lambda value: (found[value]["validation"], -found[value]["loss"]))

    layer = "features"
    rate = best("rate", RATES, lambda _: Arm(layer=layer), RATES)
    channel = best("channel", CHANNEL, lambda value: Arm(layer=layer, channel=value), [rate] * len(CHANNEL))
    if task.train.masks is None:
        return Chosen(rate, channel, 0.0)
    space = best("space", SPACE, lambda value: Arm(layer=layer, space=value, margin=MARGIN), [rate] * len(SPACE))
    return Chosen(rate, channel, space)


def arms_of(chosen: Chosen, *, annotated: bool) -> list[Arm]:
    """Fine-tuning alone, each constraint and both, each with shuffled masks, and the paper's gradients."""
    layer = "features"
    channel, space = Arm(layer=layer, channel=chosen.channel), Arm(layer=layer, space=chosen.space, margin=MARGIN)
    gradients = Arm("gradient", layer, channel=10.0)
    if not annotated:
        return [Arm(layer=layer), channel, replace(channel, shuffled=True), gradients]
    both = replace(space, channel=chosen.channel)
    gradients = replace(gradients, space=10.0, margin=MARGIN)
    shuffled = [replace(arm, shuffled=True) for arm in (channel, space)]
    return [Arm(layer=layer), channel, shuffled[0], space, shuffled[1], both, gradients]


def name_of(arm: Arm) -> str:
    """What the tables call it."""
    if arm.evidence == "gradient":
        return "gradients"
    kinds = [name for name, value in (("channel", arm.channel), ("space", arm.space)) if value]
    return ("both" if len(kinds) > 1 else kinds[0] if kinds else "plain") + (", shuffled" if arm.shuffled else "")


def run(results: Results, options: argparse.Namespace) -> None:
    """Everything that has not been run, seed by seed, so that a stopped run has whole tables of fewer seeds."""
    sets = {
        name: tuple(map(_fast, of.read(options.data, of.images + VALIDATION)))
        for name, of in DATA.items()
        if name in options.sets
    }

    def task_of(network: str, data: str, seed: int, rate: float = 0.0) -> Task:
        cell, count = f"{network}, {data}, {seed}", DATA[data].images
        learn, test = sets[data]
        file = options.work / f"{cell}.safetensors"
        model = trained(NETWORKS[network], learn[:count], DATA[data].epochs, file, seed)
        return Task(cell, model, learn[:count], learn[count:], test, steps=60, batch=32, rate=rate, epochs=3)

    best = {data: chosen(results, data, task_of("plain", data, 0)) for data in sets}
    for seed in range(1, options.seeds + 1):
        for data in sets:
            for network in NETWORKS:
                task = task_of(network, data, seed, best[data].rate)
                cell = task.name
                results.once(f"{cell} | untreated", lambda task=task: untreated(task))
                for arm in arms_of(best[data], annotated=task.train.masks is not None):
                    key = f"{cell} | {name_of(arm)}"
                    results.once(key, lambda task=task, arm=arm, seed=seed: treated(task, arm, seed))


def _fast(images: Images) -> Images:
    return Images(channels_last(images.inputs), images.labels, images.masks, images.cues)


def right_of(found: Mapping[str, Any], cell: str, arm: str) -> np.ndarray:
    """Which test images are right, ``(N,)``."""
    return classes_of(found[f"{cell} | {arm}"]["test"]) == classes_of(found[f"{cell} | untreated"]["labels"])


def gains(found: Mapping[str, Any], arm: str, control: str) -> dict[tuple[str, str], list[float]]:
    """Points of accuracy over the control by (network, data), one for each seed that has both."""
    result: dict[tuple[str, str], list[float]] = {}
    for key in found:
        cell, _, kind = key.partition(" | ")
        if kind != arm or any("test" not in found.get(f"{cell} | {one}", {}) for one in (arm, control)):
            continue
        network, data, _ = cell.split(", ")
        gap = right_of(found, cell, arm).mean() - right_of(found, cell, control).mean()
        result.setdefault((network, data), []).append(100 * float(gap))
    return result


def overall(cells: Mapping[tuple[str, str], Sequence[float]]) -> tuple[float, float, float]:
    """Mean over cells, and its 95 % interval when cells are drawn anew."""
    means = torch.tensor([[float(np.mean(values))] for values in cells.values()], dtype=torch.float64)
    mean, low, high = bootstrap_means(means)[:, 0].tolist()
    return mean, low, high


QUESTIONS = (
    ("plain", "untreated"), ("channel", "plain"), ("channel", "channel, shuffled"), ("space", "plain"),
    ("space", "space, shuffled"), ("both", "plain"), ("both", "space"), ("gradients", "plain"),
)  # fmt: skip


def tables(found: Mapping[str, Any]) -> str:
    """Accuracy of every cell and arm, gains over controls by data, and classes that gained."""
    arms = ["untreated", "plain", "channel", "channel, shuffled", "space", "space, shuffled", "both", "gradients"]
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}
    for key, value in found.items():
        cell, _, arm = key.partition(" | ")
        if "test" in value:
            network, data, _ = cell.split(", ")
            cells.setdefault((data, network), {}).setdefault(arm, []).append(100 * right_of(found, cell, arm).mean())
    rows = [
        [
            f"{data}, {network}",
            *(f"{np.mean(of[arm]):.1f} ± {np.std(of[arm]):.1f}" if arm in of else "" for arm in arms),
        ]
        for (data, network), of in sorted(cells.items())
    ]
    text = markdown_table(["", *arms], rows) + "\n"
    rows = []
    for arm, control in QUESTIONS:
        every = gains(found, arm, control)
        if not every:
            continue
        of_data = {data: {cell: values for cell, values in every.items() if cell[1] == data} for data in DATA}
        shown = [f"{overall(part)[0]:+.1f}" if part else "" for part in of_data.values()]
        mean, low, high = overall(every)
        better = sum(np.mean(values) > 0 for values in every.values())
        summed = f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
        rows.append([f"{arm} - {control}", *shown, summed, f"{better} of {len(every)}"])
    text += markdown_table(["", *DATA, "all", "cells above 0"], rows) + "\n"
    return text + by_class(found)


def by_class(found: Mapping[str, Any]) -> str:
    """How many classes gain and lose more than a point over plain fine-tuning, by arm."""
    rows = []
    for arm in ("channel", "space", "both"):
        up = down = total = 0
        for key in found:
            cell, _, kind = key.partition(" | ")
            if kind != arm or "test" not in found[key]:
                continue
            labels = classes_of(found[f"{cell} | untreated"]["labels"])
            gap = right_of(found, cell, arm).astype(float) - right_of(found, cell, "plain")
            each = [100 * gap[labels == label].mean() for label in np.unique(labels)]
            up, down, total = up + sum(g > 1 for g in each), down + sum(g < -1 for g in each), total + len(each)
        if total:
            rows.append([arm, str(up), str(down), str(total)])
    return markdown_table(["", "classes up by over a point", "down", "of"], rows)


def figure(found: Mapping[str, Any]) -> bytes:
    """Gains over plain fine-tuning, one dot a network and set of images, as a PNG."""
    axes = new_axes(8.0, 3.4)
    arms = ("channel", "channel, shuffled", "space", "space, shuffled", "both")
    for place, arm in enumerate(arms):
        for number, data in enumerate(DATA):
            values = [np.mean(v) for cell, v in gains(found, arm, "plain").items() if cell[1] == data]
            spots = place + 0.16 * (number - 1.5) + np.zeros(len(values))
            axes.plot(spots, values, "o", ms=4, color=PALETTE[number], label=data if place == 0 else None)
    axes.axhline(0, color="0.6", lw=0.8)
    axes.set_xticks(range(len(arms)), arms)
    axes.set_ylabel("points over plain fine-tuning")
    axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return to_png(axes, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what has not been run, and write ``.json``, ``.md`` and ``.png`` to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    results = Results(options.work / "model_doctor_networks.json")
    if not options.tables:
        run(results, options)
    (options.work / "model_doctor_networks.md").write_text(tables(results.found), encoding="utf-8")
    (options.work / "model_doctor_networks.png").write_bytes(figure(results.found))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    data = Path(os.environ.get("PARAMSAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder with cifar10, pacs64 and mnist")
    parser.add_argument("--work", type=Path, default=Path("model-doctor-networks"), help="folder for the results")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network on each set of images")
    parser.add_argument("--sets", nargs="*", default=[*DATA], help="of images")
    parser.add_argument("--tables", action="store_true", help="only make the tables, of what is there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
