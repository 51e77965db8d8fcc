"""Every method side by side on a real network: SqueezeNet's mistakes and correct images on labelled photos.

``python docs/evidence/comparison.py`` takes what the filters usually do from every second photo, picks as many mistakes
as correct images among the others, compares, and writes the tables and the figures of ``comparison.md``. After an
interruption it resumes with the batch after the last finished one.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from photos import Photos, add_data_option, load_photos, load_squeezenet, scores_of
from torch import Tensor, nn

from captum_paramsal import Reference
from captum_paramsal.comparison import PRESETS, Comparison, PairedDifference, compare
from captum_paramsal.metrics import (
    BoxOverlap,
    Deletion,
    IncreaseInConfidence,
    Infidelity,
    Insertion,
    Metric,
    ModelRandomisation,
    Pointing,
    Sensitivity,
    Sparsity,
)
from captum_paramsal.viz import metric_panels, to_png

LOG = logging.getLogger("comparison")
ONCE: tuple[Metric, ...] = (
    Infidelity(),
    Infidelity(of="loss"),
    Deletion(steps=10),
    Insertion(steps=10),
    Pointing(),
    BoxOverlap(),
    IncreaseInConfidence(),
    Sparsity(),
)
"""Metrics that need one map; the default settings, with half the steps."""

AGAIN: tuple[Metric, ...] = (Sensitivity(samples=2), ModelRandomisation(stages=2))
"""Metrics that need four more maps of a method."""

CHEAP = (
    "grad_cam",
    "saliency",
    "guided_grad_cam",
    "deep_lift",
    "noise_tunnel",
    "input_space_saliency",
    "discernible_neurons",
    "model_doctor",
    "centre",
    "random",
)
COSTLY = ("integrated_gradients",)
"""50 passes for a map: judged only on its maps."""

TIMED = 16
"""Photos on which seconds and memory of the methods are measured."""

TABLES = {
    "faithful": ("relative infidelity", "relative infidelity of loss", "deletion", "insertion"),
    "on the object": ("pointing game", "pointing game (small boxes)", "iou", "increase in confidence", "box area"),
    "sound": ("sensitivity", "randomised rank correlation", "randomised SSIM", "sparsity"),
}
"""Columns of each table."""


def predictions(model: nn.Module, photos: Photos) -> Tensor:
    """Predicted classes, ``(N,)``."""
    return scores_of(model, photos.images).argmax(dim=1)


def picked(wrong: Tensor, per_group: int) -> Tensor:
    """Numbers of the first mistakes and of as many correct images, alternating, so that any part of them has both."""
    groups = [part.nonzero()[:per_group, 0] for part in (wrong, ~wrong)]
    count = min(map(len, groups))
    return torch.stack([group[:count] for group in groups], dim=1).flatten()


def table(found: Comparison, columns: Sequence[str]) -> str:
    """Means with 95 % intervals over images, one row per method, as Markdown."""
    known = [column for column in found.columns if column.name in columns]
    arrows = {"higher": " ↑", "lower": " ↓", "": ""}
    header = [f"{column.name}{arrows[column.better]}" for column in known]
    rows = {(row["method"], row["metric"]): row for row in found.table()}
    lines = ["| method | " + " | ".join(header) + " |", "|---" * (len(known) + 1) + "|"]
    for method in found.methods:
        cells = [_cell(rows[method, column.name]) for column in known]
        if any(cells):
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, float]) -> str:
    if not row["images"]:
        return ""
    form = ".1f" if row["unit"] == "MiB" else ".3f"
    return f"{row['mean']:{form}} ({row['low']:{form}} to {row['high']:{form}})"


def left_out(found: Comparison) -> str:
    """Maps that show nothing, and steps that failed, by method."""
    nothing = found.degenerate.sum(dim=1).tolist()
    empty = [f"{method}: {count}" for method, count in zip(found.methods, nothing, strict=True) if count]
    failed = sorted({f"{one.method}, {one.step}: {one.message}" for one in found.failures})
    return "\n".join([f"Degenerate maps: {', '.join(empty) or 'none'}.", *failed]) + "\n"


def differences(found: Comparison, rival: str, columns: Sequence[str]) -> str:
    """Each method minus a rival, paired, with interval and p-value, as Markdown."""
    pairs = {column: {frozenset((one.first, one.second)): one for one in found.paired(column)} for column in columns}
    lines = [f"| minus {rival} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for method in found.methods[: len(found.agreement)]:
        if method != rival:
            cells = [_difference(pairs[column][frozenset((method, rival))], rival) for column in columns]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _difference(pair: PairedDifference, rival: str) -> str:
    low, high = pair.interval
    mean, low, high = (pair.mean, low, high) if pair.second == rival else (-pair.mean, -high, -low)
    p = "p < 0.001" if pair.adjusted < 0.001 else f"p = {pair.adjusted:.2g}"
    p = p if pair.adjusted == pair.adjusted else "too few differ"
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f}), {p}"


def bars(groups: dict[str, Comparison], columns: Sequence[str]) -> bytes:
    """Means with intervals of the groups, as a PNG."""
    first = next(iter(groups.values()))
    notes = {column.name: column for column in first.columns}
    ends = []
    for end in ("mean", "low", "high"):
        rows = [{(row["method"], row["metric"]): row[end] for row in found.table()} for found in groups.values()]
        ends.append(torch.tensor([[[row[m, c] for c in columns] for m in first.methods] for row in rows]))
    axes = metric_panels(
        *ends,
        first.methods,
        columns,
        groups=list(groups),
        units=[notes[column].unit for column in columns],
        better=[notes[column].better for column in columns],
    )
    return to_png(axes[0], dpi=90)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and write ``comparison.safetensors``, ``.md`` and ``.png`` to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    model = load_squeezenet(options.data)
    every = load_photos(options.data / "imagenet_val900", None)
    usual, others = every.every_second(0), every.every_second(1)
    batches = list(zip(usual.images.split(25), usual.labels.split(25), strict=True))
    reference = Reference.fit(model, batches, total=len(usual))
    wrong = predictions(model, others) != others.labels
    places = picked(wrong, options.per_group)
    photos, mistakes = others[places], wrong[places]
    LOG.info("%d photos, %d of them mistakes", len(photos), int(mistakes.sum()))
    parts = []
    for name, methods, metrics in (("cheap", CHEAP, (*ONCE, *AGAIN)), ("costly", COSTLY, ONCE)):
        part = compare(
            methods,
            model,
            photos.images,
            photos.labels if options.explain == "label" else None,
            metrics=metrics,
            boxes=photos.boxes,
            reference=reference,
            batch_size=options.batch_size,
            checkpoint=options.work / f"{name}.checkpoint",
        )
        parts.append(part)
    found = parts[0].with_methods_of(parts[1])
    found.save(options.work / "comparison.safetensors")
    cost = compare(
        [name for name, one in PRESETS.items() if one.by_default or name in CHEAP],
        model,
        photos.images[:TIMED],
        metrics=["sparsity"],
        reference=reference,
        batch_size=options.batch_size,
        keep=0,
    )
    write(found, mistakes, cost, options.work)


def write(found: Comparison, mistakes: Tensor, cost: Comparison, work: Path) -> None:
    """The tables and figures."""
    groups = {"mistakes": found.where(mistakes), "right": found.where(~mistakes)}
    sections = [
        f"## {title}, {name}: {len(part)} photos\n\n{table(part, columns)}"
        for title, columns in TABLES.items()
        for name, part in groups.items()
    ]
    compared = ("relative infidelity", "deletion", "insertion", "pointing game")
    against = [differences(found, rival, compared) for rival in ("grad_cam", "integrated_gradients")]
    price = f"## price\n\n{table(cost, ('seconds', 'peak memory'))}"
    text = "\n".join([*sections, price, *against, left_out(found)])
    (work / "comparison.md").write_text(text, encoding="utf-8")
    shown = ("relative infidelity", "deletion", "insertion", "pointing game", "sensitivity", "randomised SSIM")
    (work / "comparison.png").write_bytes(bars(groups, shown))
    (work / "agreement.png").write_bytes(to_png(found.plot("agreement"), dpi=90))
    LOG.info("\n%s", text)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("comparison"), help="folder for the results")
    parser.add_argument("--per-group", type=int, default=100, help="mistakes, and correct images, at most")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--explain", choices=("prediction", "label"), default="prediction", help="explained class")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
