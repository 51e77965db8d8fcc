"""Which stages the top 20 filters of a mistake lie in: raw profile, z-scores and both POT fits under domain shift.

``python docs/evidence/depth_bias.py`` trains a ResNet-18 on MNIST and one on PACS without one domain, takes references,
scores the misclassified images of the other domain, and writes the tables and the figure of ``depth_bias.md``.
"""

import argparse
import io
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, interpolate
from torch.utils.data import random_split
from torchvision.models import resnet18

from captum_paramsal import ParameterSaliency, POTSaliency, Reference
from captum_paramsal.filters import FilterIndex
from captum_paramsal.stats import MINIMUM_EXCESSES, FilterTails, Moments, UpperTail
from captum_paramsal.viz.style import PALETTE, new_panels, to_png

LOG = logging.getLogger("depth_bias")


@dataclass(frozen=True)
class Images:
    """Labelled images of one domain or split: ``pixels`` ``(N, C, H, W)`` uint8, ``labels`` ``(N,)`` int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> "Images":
        return Images(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Task:
    """A network's training set, its validation and reference set, the images of the other domain, and the recipe."""

    name: str
    train: Images
    validation: Images
    shifted: Images
    side: int
    classes: int
    optimizer: str

    def batches(self, images: Images, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of what the network takes, ``(n, 3, side, side)`` in [-1, 1], with their labels."""
        for start in range(0, len(images), size):
            part = images[start : start + size]
            pixels = (part.pixels.float() / 255 - 0.5) / 0.5
            if pixels.shape[-1] != self.side:
                pixels = interpolate(pixels, size=(self.side, self.side), mode="bilinear")
            yield pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last), part.labels


def digits(data: Path) -> Task:
    """MNIST, and the digits of the street photos."""
    mnist = np.load(data / "mnist" / "mnist.npz")
    street = np.load(data / "street_digits446" / "street_digits446.npz")
    train, test = (
        Images(_tensor(mnist[f"x_{part}"])[:, None], _tensor(mnist[f"y_{part}"])) for part in ("train", "test")
    )
    shifted = Images(_tensor(street["x"]).permute(0, 3, 1, 2), _tensor(street["y"]))
    return Task("mnist", _long(train), _long(test), _long(shifted), side=32, classes=10, optimizer="sgd")


def domains(data: Path, held_out: str) -> Task:
    """PACS without one domain, split 80 to 20 with seed 40, and that domain."""
    pacs = np.load(data / "pacs64" / "pacs64_jpeg.npz")
    files, ends = pacs["jpeg"], pacs["offsets"]
    photos = [
        np.asarray(Image.open(io.BytesIO(files[start:end].tobytes())).convert("RGB")) for start, end in pairwise(ends)
    ]
    images = _long(Images(torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2), _tensor(pacs["y"])))
    outside = _tensor(pacs["domain"]) == list(pacs["domains"]).index(held_out)
    inside = images[~outside]
    kept = round(0.8 * len(inside))
    train, validation = random_split(
        range(len(inside)), [kept, len(inside) - kept], generator=torch.Generator().manual_seed(40)
    )
    return Task(
        f"pacs-{held_out}",
        inside[list(train.indices)],
        inside[list(validation.indices)],
        images[outside],
        side=images.pixels.shape[-1],
        classes=len(pacs["classes"]),
        optimizer="adam",
    )


def trained(
    task: Task, work: Path, epochs: int, batch: int = 256, seed: int = 0
) -> tuple[dict[str, nn.Module], list[dict[str, float]]]:
    """The networks of a task by name, and the history of their training.

    The first is the one of the best validation loss; where a later epoch ended the training, its network is the second.
    After every epoch the whole state is written to ``work``, from which a training that was stopped resumes.
    """
    torch.manual_seed(seed)
    model = resnet18(num_classes=task.classes).to(memory_format=torch.channels_last)
    for convolution in model.layer4.modules():
        if isinstance(convolution, nn.Conv2d) and convolution.padding == (1, 1) and convolution.stride == (1, 1):
            convolution.forward = partial(centre_tap, convolution)
    optimizer = (
        torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        if task.optimizer == "sgd"
        else torch.optim.Adam(model.parameters(), lr=1e-3)
    )
    best, state = work / f"{task.name}.safetensors", work / f"{task.name}.training.pt"
    history: list[dict[str, float]] = []
    if state.exists():
        saved = torch.load(state)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        history = saved["history"]
    elif epochs == 0:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, best)
    for epoch in range(len(history), epochs):
        order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        model.train()
        for inputs, labels in task.batches(task.train[order], batch):
            optimizer.zero_grad()
            cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        logits = predicted(model, task, task.validation)
        loss = cross_entropy(logits, task.validation.labels).item()
        if loss < min((row["loss"] for row in history), default=float("inf")):
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, best)
        history.append({"loss": loss, "accuracy": _accuracy(logits, task.validation)})
        LOG.info("%s epoch %d: %s", task.name, epoch + 1, history[-1])
        unfinished = state.with_suffix(".partial")
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}, unfinished)
        unfinished.replace(state)
    networks = {task.name: load_file(best)}
    if history and min(history, key=lambda row: row["loss"]) is not history[-1]:
        networks[f"{task.name}, last epoch"] = model.state_dict()
    return {name: _network(task, weights) for name, weights in networks.items()}, history


def _network(task: Task, weights: dict[str, Tensor]) -> nn.Module:
    model = resnet18(num_classes=task.classes)
    model.load_state_dict(weights)
    return model.eval()


def centre_tap(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    """A padded 3 x 3 convolution, without the weights that meet only padding where the maps are one pixel large.

    The same function at a third of the time that MNIST's training takes.
    """
    if maps.shape[-2:] == (1, 1):
        return conv2d(maps, convolution.weight[:, :, 1:2, 1:2])
    return conv2d(maps, convolution.weight, padding=1)


def predicted(model: nn.Module, task: Task, images: Images) -> Tensor:
    """Class scores ``(N, C)`` in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(inputs) for inputs, _ in task.batches(images, 256)])


def stages_of(filters: FilterIndex) -> tuple[list[str], Tensor]:
    """Names of the stages, and the stage number of every filter ``(F,)``.

    A stage is the first word of a layer's name, so the convolutions of the shortcuts belong to the stage they lie in.
    """
    of_layer = {layer: layer.partition(".")[0] for layer in filters.layers}
    names = list(dict.fromkeys(of_layer.values()))
    sizes = torch.tensor(list(filters.counts.values()))
    numbers = torch.tensor([names.index(stage) for stage in of_layer.values()])
    return names, numbers.repeat_interleave(sizes)


def top_shares(scores: Tensor, stages: Tensor, top: int, *, above_zero: bool) -> tuple[Tensor, Tensor]:
    """Shares of the stages among the highest-scoring filters, ``(N, stages)``, and how many were ranked, ``(N,)``.

    Args:
        scores: ``(N, F)``.
        stages: Stage number of every filter, ``(F,)``.
        top: How many filters are ranked, at most.
        above_zero: Rank only scores above 0: the filters beyond their thresholds, as the paper does.
    """
    values, order = scores.sort(dim=1, descending=True, stable=True)
    ranked = (values[:, :top] > 0) if above_zero else torch.ones_like(values[:, :top], dtype=torch.bool)
    counts = torch.zeros(len(scores), int(stages.max()) + 1, dtype=torch.float64)
    counts.scatter_add_(1, stages[order[:, :top]], ranked.double())
    number = ranked.sum(dim=1)
    return counts / number[:, None], number


def interval(rows: Tensor, resamples: int = 2000, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Mean over the images, and the ends of its 95 % percentile interval from resampling the images."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(rows), (resamples, len(rows)), generator=generator)
    ones = torch.ones((), dtype=rows.dtype).expand_as(drawn)
    times = torch.zeros(drawn.shape, dtype=rows.dtype).scatter_add_(1, drawn, ones)
    means = times @ rows / len(rows)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype), dim=0)
    return rows.mean(dim=0), low, high


def measured(task: Task, model: nn.Module, reference: Reference, top: int, batch: int) -> dict[str, Any]:
    """Shares of the stages for every score, over the misclassified images of the other domain at their true labels.

    They are scored with each of several references: ``own_domain``, the network's validation set; ``few``, as many of
    its images as half of the other domain has, where that is fewer; ``own_mistakes``, only its misclassified ones;
    ``other_domain``, where each half of the other domain's images has the statistics of the other half.
    """
    raw = ParameterSaliency(model, layers=reference.filters)

    def profiles(images: Images) -> Tensor:
        return torch.cat([raw.attribute(inputs, target=labels) for inputs, labels in task.batches(images, batch)])

    logits, own_logits = predicted(model, task, task.shifted), predicted(model, task, task.validation)
    wrong, own_wrong = logits.argmax(dim=1) != task.shifted.labels, own_logits.argmax(dim=1) != task.validation.labels
    rows = profiles(task.shifted)
    first = _chosen(len(rows), len(rows) // 2)
    chosen = {"own_mistakes": own_wrong}
    if len(rows) // 2 < len(task.validation):
        chosen = {"few": _chosen(len(task.validation), len(rows) // 2)} | chosen
    parts = {"own_domain": [(reference, rows[wrong])]}
    for name, mask in chosen.items():
        parts[name] = [(_of_rows(reference, profiles(task.validation[mask])), rows[wrong])]
    parts["other_domain"] = [(_of_rows(reference, rows[~half]), rows[half & wrong]) for half in (first, ~first)]
    names, stages = stages_of(reference.filters)
    own_loss = cross_entropy(own_logits, task.validation.labels, reduction="none")
    loss = cross_entropy(logits, task.shifted.labels, reduction="none")
    return {
        "stages": names,
        "filters": torch.bincount(stages).tolist(),
        "images": len(wrong),
        "misclassified": int(wrong.sum()),
        "own_misclassified": int(own_wrong.sum()),
        "shifted_accuracy": _accuracy(logits, task.shifted),
        "validation_accuracy": _accuracy(own_logits, task.validation),
        "median_loss": {
            "own_domain": own_loss.median().item(),
            "own_mistakes": own_loss[own_wrong].median().item(),
            "mistakes": loss[wrong].median().item(),
        },
        "reference_images": {name: [one.count for one, _ in pairs] for name, pairs in parts.items()},
        "excesses": {name: [one.tail.capacity for one, _ in pairs] for name, pairs in parts.items()},
        "shares": {name: scored(model, pairs, stages, top) for name, pairs in parts.items()},
        "tails": _described(reference, rows[wrong], stages),
    }


def scored(model: nn.Module, parts: list[tuple[Reference, Tensor]], stages: Tensor, top: int) -> dict[str, Any]:
    """Shares of the stages for every score, over profiles ``(N, F)`` that each have a reference."""
    scores = {"raw profile": [rows for _, rows in parts]}
    scores["z-score"] = [ParameterSaliency(model, reference).score(rows) for reference, rows in parts]
    for fit in ("exponential", "mle"):
        scores[f"POT, {fit}"] = [POTSaliency(model, reference, fit=fit).score(rows) for reference, rows in parts]
    return {
        arm: _placed(torch.cat(rows), stages, top, above_zero=arm.startswith("POT")) for arm, rows in scores.items()
    }


def _chosen(count: int, number: int) -> Tensor:
    """A mask ``(count,)`` with ``number`` entries set at random."""
    mask = torch.zeros(count, dtype=torch.bool)
    mask[torch.randperm(count, generator=torch.Generator().manual_seed(0))[:number]] = True
    return mask


def _of_rows(reference: Reference, rows: Tensor) -> Reference:
    """The same network's reference over other profiles; where they are few, with a tail just large enough to fit."""
    fraction = min(max(reference.tail.fraction, (MINIMUM_EXCESSES + 2) / len(rows)), 0.5)
    return replace(reference, moments=Moments.of(rows), tail=UpperTail.of(rows, fraction))


def _placed(scores: Tensor, stages: Tensor, top: int, *, above_zero: bool) -> dict[str, Any]:
    shares, number = top_shares(scores, stages, top, above_zero=above_zero)
    mean, low, high = interval(shares[number > 0])
    return {
        "mean": mean.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "fewer_ranked": int((number < top).sum()),
        "none_ranked": int((number == 0).sum()),
    }


def _described(reference: Reference, profile: Tensor, stages: Tensor) -> dict[str, Any]:
    """How heavy the tails of the reference are, by stage, how well they are fitted, and how many images lie beyond."""
    tails = FilterTails.fit(reference.tail)
    poor = (tails.pareto.goodness_of_fit(reference.tail.excesses) < 0.05).double()
    exceeding = (profile > tails.threshold).double()
    variation = reference.std / reference.mean
    parts = [stages == number for number in range(int(stages.max()) + 1)]
    return {
        "dead_filters": int((tails.rate == 0).sum()),
        "fallback_filters": int(tails.pareto.fallback.sum()),
        "median_shape": [tails.pareto.shape[part].median().item() for part in parts],
        "median_variation": [variation[part].median().item() for part in parts],
        "rejected_fits": [poor[part].mean().item() for part in parts],
        "exceeding": [exceeding[:, part].mean().item() for part in parts],
    }


def table(result: dict[str, Any], reference: str) -> str:
    """The shares with one of the references as a markdown table, in percent."""
    lines = [
        "| score | " + " | ".join(result["stages"]) + " |",
        "|---" * (len(result["stages"]) + 1) + "|",
        "| share of all filters | "
        + " | ".join(f"{100 * n / sum(result['filters']):.1f}" for n in result["filters"])
        + " |",
    ]
    for arm, found in result["shares"][reference].items():
        cells = [
            f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"
            for mean, low, high in zip(found["mean"], found["low"], found["high"], strict=True)
        ]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(results: dict[str, dict[str, Any]]) -> bytes:
    """Bars of the shares by stage with intervals and the shares of all filters, as a PNG.

    A column a network; above with the reference of its own domain, below with that of the other.
    """
    panels = new_panels(4.6 * len(results), 6.0, 2, len(results))
    for number, panel in enumerate(panels):
        row, column = divmod(number, len(results))
        name, result = list(results.items())[column]
        bars(panel, result, ("own_domain", "other_domain")[row])
        panel.set_title(f"{name}: {result['misclassified']} mistakes" if row == 0 else "")
        if column == 0:
            panel.set_ylabel(f"top {result['top']} (%), {('own', 'other')[row]} domain's reference")
    panels[1].legend(loc="upper center")
    return to_png(panels[0], dpi=110)


def bars(panel: Any, result: dict[str, Any], reference: str) -> None:
    """One panel of the figure: a group of bars for every stage."""
    x, arms = np.arange(len(result["stages"])), list(result["shares"][reference].items())
    for number, (arm, found) in enumerate(arms):
        mean, low, high = (100 * np.array(found[key]) for key in ("mean", "low", "high"))
        left = x + 0.8 * ((number + 0.5) / len(arms) - 0.5)
        errors = np.clip(np.stack([mean - low, high - mean]), 0, None)
        panel.bar(left, mean, 0.8 / len(arms), yerr=errors, color=PALETTE[number], label=arm, error_kw={"lw": 0.8})
    chance = 100 * np.array(result["filters"]) / sum(result["filters"])
    panel.hlines(chance, x - 0.42, x + 0.42, colors=PALETTE[6], linestyles="dashed", label="all filters")
    panel.set_xticks(x, result["stages"])
    panel.set_ylim(0, 104)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _long(images: Images) -> Images:
    return Images(images.pixels, images.labels.long())


def _accuracy(logits: Tensor, images: Images) -> float:
    return (logits.argmax(dim=1) == images.labels).double().mean().item()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, score, and write ``depth_bias.json``, ``.md`` and ``.png`` to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    results = {}
    for task in (digits(options.data), *(domains(options.data, name) for name in options.held_out)):
        epochs = options.mnist_epochs if task.name == "mnist" else options.pacs_epochs
        networks, history = trained(task, options.work, epochs)
        for name, model in networks.items():
            reference = _referred(task, name, model, options)
            found = measured(task, model, reference, options.top, options.batch)
            results[name] = {"top": options.top, "tail": options.tail, "history": history, **found}
    text = "\n".join(
        f"{name}, {reference.replace('_', ' ')}\n\n{table(result, reference)}"
        for name, result in results.items()
        for reference in result["shares"]
    )
    LOG.info("%s", text)
    (options.work / "depth_bias.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.work / "depth_bias.md").write_text(text, encoding="utf-8")
    (options.work / "depth_bias.png").write_bytes(figure(results))


def _referred(task: Task, name: str, model: nn.Module, options: argparse.Namespace) -> Reference:
    """The reference over the validation set: the one of an earlier run, or a new one."""
    file = options.work / f"{name.replace(', ', '-').replace(' ', '-')}.reference.safetensors"
    if not file.exists():
        batches = task.batches(task.validation, options.batch)
        Reference.fit(model, batches, tail=options.tail, total=len(task.validation)).save(file)
    reference = Reference.load(file)
    reference.check(model)
    return reference


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    data = Path(os.environ.get("PARAMSAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder with mnist, street_digits446 and pacs64")
    parser.add_argument("--work", type=Path, default=Path("depth-bias"), help="folder for weights, references, results")
    parser.add_argument("--held-out", nargs="*", default=["sketch"], help="domains of PACS, each held out in turn")
    parser.add_argument("--mnist-epochs", type=int, default=10, help="at most; the best validation loss is kept")
    parser.add_argument("--pacs-epochs", type=int, default=40, help="at most; the best validation loss is kept")
    parser.add_argument("--tail", type=float, default=0.10, help="fraction of the reference set beyond the thresholds")
    parser.add_argument("--top", type=int, default=20, help="filters ranked")
    parser.add_argument("--batch", type=int, default=128, help="images scored at once")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
