"""Fourteen methods by eight metrics on real networks: who is ahead, and which metrics contradict each other.

``python docs/evidence method_ranks --network squeezenet`` compares on photos of ImageNet in turn: a mistake, a correct
image, and an image with a small object, as many as ``--per-group`` says. It adds that network's tables to those of the
others. After an interruption it resumes with the photo after the last finished one.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from photos import (
    LITE1_INPUT,
    SQUEEZENET_INPUT,
    Photos,
    Preparation,
    add_data_option,
    load_lite1,
    load_photos,
    load_squeezenet,
    scores_of,
)
from results import markdown_table
from torch import Tensor, nn

from captum_paramsal import Reference
from captum_paramsal.comparison import Comparison, TrustSummary, compare
from captum_paramsal.metrics import (
    IROF,
    ROAD,
    Deletion,
    Infidelity,
    Insertion,
    Metric,
    ModelRandomisation,
    Pointing,
    Sensitivity,
    has_small_boxes,
)

LOG = logging.getLogger("method_ranks")

METHODS = (
    "grad_cam",
    "grad_cam_plus_plus",
    "integrated_gradients",
    "saliency",
    "guided_grad_cam",
    "deep_lift",
    "occlusion",
    "noise_tunnel",
    "input_space_saliency",
    "discernible_neurons",
    "cnn_fixations",
    "model_doctor",
    "centre",
    "random",
)
METRICS: tuple[Metric, ...] = (
    Infidelity(),
    Sensitivity(samples=1),
    Deletion(steps=10),
    Insertion(steps=10),
    ROAD((0.1, 0.3, 0.5, 0.7, 0.9)),
    IROF(40),
    Pointing(),
    ModelRandomisation(stages=1),
)
"""As they are by default, with fewer copies, steps, segments and stages."""

MEASURES = (
    "relative infidelity",
    "sensitivity",
    "deletion",
    "insertion",
    "ROAD",
    "IROF",
    "pointing game",
    "randomised rank correlation",
)
"""One column of each metric."""


@dataclass(frozen=True)
class Subject:
    """A network of the study, and what it takes."""

    load: Callable[[Path], nn.Module]
    preparation: Preparation


SUBJECTS = {"squeezenet": Subject(load_squeezenet, SQUEEZENET_INPUT), "lite1": Subject(load_lite1, LITE1_INPUT)}


def in_turn(wrong: Tensor, small: Tensor, per_group: int) -> Tensor:
    """Numbers of photos: a mistake, a correct image, one with a small object, and so on; none of them twice."""
    taken: set[int] = set()
    groups = []
    for mask in (small, wrong, ~wrong):
        group = [place for place in mask.nonzero()[:, 0].tolist() if place not in taken][:per_group]
        taken.update(group)
        groups.append(group)
    return torch.tensor([place for several in zip(*groups, strict=False) for place in several])


def judged_by(found: Comparison) -> TrustSummary:
    """Ranks by one column of each metric."""
    places = [place for place, column in enumerate(found.columns) if column.name in (*MEASURES, "seconds")]
    columns = [found.columns[place] for place in places]
    return TrustSummary.of(columns, found.methods, found.scores[:, places], len(found.agreement))


def rank_table(summary: TrustSummary) -> str:
    """Methods by metrics: rank and its interval; bold where it may be the best, a star where a control is as good."""
    ranks = {(row["method"], row["metric"]): row for row in summary.to_table()}
    measures = [one.measure for one in summary.ranks]
    names = [name for name in METHODS if any((name, measure) in ranks for measure in measures)]
    rows = [[name, *(_cell(ranks.get((name, measure))) for measure in measures)] for name in names]
    return markdown_table(["method", *measures], rows)


def _cell(row: dict[str, object] | None) -> str:
    if row is None:
        return ""
    rank = f"**{row['rank']:g}**" if row["top"] else f"{row['rank']:g}"
    return f"{rank}{'*' if row['unbeaten_controls'] else ''} ({row['low']:g} to {row['high']:g})"


def measure_table(summary: TrustSummary) -> str:
    """Rank correlations of every two metrics with their intervals."""
    rows = [
        [f"{pair.first}, {pair.second}", f"{pair.correlation:.2f} ({pair.low:.2f} to {pair.high:.2f})"]
        for pair in sorted(summary.agreements, key=lambda pair: pair.correlation)
    ]
    return markdown_table(["metrics", "rank correlation"], rows)


def report(found: Comparison, groups: dict[str, Tensor]) -> str:
    """All tables of a network."""
    sections = []
    for name, mask in groups.items():
        part = found.where(mask)
        summary = judged_by(part)
        sections += [f"## {name}: {len(part)} photos\n", "\n".join(f"* {words}" for words in summary.sentences) + "\n"]
        sections += [rank_table(summary), measure_table(summary)]
    failed = sorted({f"{one.method}, {one.step}: {one.message}" for one in found.failures})
    empty = dict(zip(found.methods, found.degenerate.sum(dim=1).tolist(), strict=True))
    nothing = ", ".join(f"{name}: {count}" for name, count in empty.items() if count) or "none"
    return "\n".join([*sections, f"Degenerate maps: {nothing}.", *failed]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare on one network, and write its scores and tables to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    subject = SUBJECTS[options.network]
    model = subject.load(options.data)
    every = load_photos(options.data / "imagenet_val900", None, subject.preparation)
    usual, others = every.every_second(0), every.every_second(1)
    wrong = scores_of(model, others.images).argmax(dim=1) != others.labels
    photos, mistakes = _chosen(others, wrong, options.per_group)
    LOG.info("%s: %d photos, %d of them mistakes", options.network, len(photos), int(mistakes.sum()))
    found = compare(
        METHODS,
        model,
        photos.images,
        metrics=METRICS,
        boxes=photos.boxes,
        reference=_reference(model, usual),
        batch_size=1,
        keep=0,
        checkpoint=options.work / f"{options.network}.checkpoint",
    )
    found.save(options.work / f"{options.network}.safetensors")
    small = has_small_boxes(photos.boxes, photos.size)
    groups = {"all": torch.ones_like(mistakes), "mistakes": mistakes, "correct": ~mistakes, "small objects": small}
    text = report(found, groups)
    (options.work / f"{options.network}.md").write_text(text, encoding="utf-8")
    LOG.info("\n%s", text)


def _chosen(photos: Photos, wrong: Tensor, per_group: int) -> tuple[Photos, Tensor]:
    places = in_turn(wrong, has_small_boxes(photos.boxes, photos.size), per_group)
    return photos[places], wrong[places]


def _reference(model: nn.Module, usual: Photos) -> Reference:
    batches = list(zip(usual.images.split(25), usual.labels.split(25), strict=True))
    return Reference.fit(model, batches, total=len(usual))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--network", choices=SUBJECTS, default="squeezenet")
    parser.add_argument("--work", type=Path, default=Path("method_ranks"), help="folder for the results")
    parser.add_argument("--per-group", type=int, default=12, help="photos of each of the three kinds")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
