"""Tables and figure of ``comparison.md``: means, ranks, what is ahead, and whether metrics and groups agree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from results import markdown_table
from torch import Tensor

from captum_paramsal.comparison import Comparison, MeasureAgreement, PairedDifference, TrustSummary
from captum_paramsal.comparison.cost import SECONDS
from captum_paramsal.comparison.ranks import BLIND as CONTROLS, measure_agreement, ranked_measure
from captum_paramsal.viz import to_png
from captum_paramsal.viz.matrix import draw_matrix, write_numbers
from captum_paramsal.viz.style import new_panels, styled

__all__ = ["CONTROLS", "RANKED", "Judged", "numbers", "rank_figure"]

RANKED = (
    "relative infidelity",
    "deletion",
    "insertion",
    "ROAD",
    "IROF",
    "pointing game",
    "sensitivity",
    "randomised rank correlation",
)
"""Eight metrics, one column of each."""

TABLES = {
    "what the model does": (
        "relative infidelity",
        "relative infidelity of loss",
        "deletion",
        "insertion",
        "ROAD",
        "IROF",
    ),
    "the object": ("pointing game", "iou"),
    "soundness": ("sensitivity", "randomised rank correlation", "randomised SSIM", "sparsity"),
}
"""Columns of each table of means."""
PRICE = ("seconds", "peak memory")
RIVAL = "grad_cam"
COLORS = "viridis_r"


@dataclass(frozen=True)
class Judged:
    """What was found on a network.

    Attributes:
        title: Of the network.
        found: Every method by every metric on every image.
        groups: Some of the images by a name, ``(N,)`` bool.
        halves: Which images are in the first of two halves that are alike in everything.
    """

    title: str
    found: Comparison
    groups: dict[str, Tensor]
    halves: Tensor

    @property
    def parts(self) -> dict[str, Comparison]:
        """All images, and each group."""
        return {"all images": self.found} | {name: self.found.where(mask) for name, mask in self.groups.items()}


def numbers(every: Sequence[Judged]) -> str:
    """The page of all numbers."""
    head = "# Which map to trust: all numbers\n\nMade by the study of {doc}`comparison`, which says what they mean.\n"
    sections = [section for one in every for section in _sections(one)]
    if len(every) > 1:
        sections.append(f"## Do networks order the methods alike?\n\n{networks_table(every)}")
    return "\n".join([head, *sections])


def _sections(judged: Judged) -> Iterator[str]:
    methods = judged.found.methods
    yield f"## {judged.title}\n"
    for name, part in judged.parts.items():
        summary = ranks_of(part)
        yield f"### {name}: {len(part)}\n"
        yield "\n".join(f"* {sentence}" for sentence in summary.sentences) + "\n"
        yield f"Ranks:\n\n{rank_table(summary, control_places(part, summary), methods)}"
        for title, columns in TABLES.items():
            if any(column.name in columns for column in part.columns):
                yield f"Means, {title}:\n\n{mean_table(part, columns)}"
    yield "### Do the metrics agree?\n"
    yield agreement_table(ranks_of(judged.found))
    yield "### Is the order of the methods the same in other images?\n"
    yield order_table(judged)
    yield f"### Differences from {RIVAL}, paired\n"
    yield difference_table(judged.found, RIVAL, RANKED)
    yield "### Price\n"
    yield mean_table(judged.found, PRICE)
    yield left_out(judged.found)


def ranks_of(found: Comparison) -> TrustSummary:
    """Ranks by one column of each metric, on the images on which all methods have a score by it."""
    columns = [column for column in found.columns if column.name in (*RANKED, SECONDS.name)]
    scores = torch.stack([shared_scores(found, column.name) for column in columns], dim=1)
    return TrustSummary.of(columns, found.methods, scores, len(found.agreement))


def shared_scores(found: Comparison, measure: str) -> Tensor:
    """Scores ``(M, N)``; NaN for all on an image on which a method has none, because its map is empty for one."""
    scores = found.column(measure)
    explained = scores[: len(found.agreement)]
    judged = explained[~explained.isnan().all(dim=1)]
    return scores.where(~judged.isnan().any(dim=0), torch.nan)


def control_places(found: Comparison, summary: TrustSummary) -> dict[tuple[str, str], int]:
    """The place that a control would take among the ranked methods by its mean, by control and measure."""
    columns = {column.name: column for column in found.columns}
    places = {}
    for ranks in summary.ranks:
        sign = 1 if columns[ranks.measure].better == "higher" else -1
        scores = sign * shared_scores(found, ranks.measure)
        means = dict(zip(found.methods, scores.nanmean(dim=1).tolist(), strict=True))
        for control in set(CONTROLS) & means.keys():
            better = sum(means[one.method] > means[control] for one in ranks.methods)
            places[control, ranks.measure] = 1 + better
    return places


def rank_table(summary: TrustSummary, controls: dict[tuple[str, str], int], methods: Sequence[str]) -> str:
    """Methods by metrics: rank and its interval; bold where it may be the best, a star where a control is as good."""
    measures = [one.measure for one in summary.ranks]
    cells = {(row["method"], row["metric"]): _rank_cell(row) for row in summary.to_table()}
    cells |= {key: f"as {place}" for key, place in controls.items()}
    rows = [[name, *(cells.get((name, measure), "") for measure in measures)] for name in methods]
    counted = ["images", *(str(one.images) for one in summary.ranks)]
    return markdown_table(["method", *measures], [*(row for row in rows if any(row[1:])), counted])


def _rank_cell(row: dict[str, object]) -> str:
    rank = f"**{row['rank']:g}**" if row["top"] else f"{row['rank']:g}"
    star = r"\*" if row["unbeaten_controls"] else ""
    return f"{rank}{star} ({row['low']:g} to {row['high']:g})"


def mean_table(found: Comparison, columns: Sequence[str]) -> str:
    """Means with 95 % intervals over images, one row per method."""
    known = [column for column in found.columns if column.name in columns]
    arrows = {"higher": " ↑", "lower": " ↓", "": ""}
    rows = {(row["method"], row["metric"]): row for row in found.table()}
    cells = [[method, *(_mean_cell(rows[method, column.name]) for column in known)] for method in found.methods]
    header = ["method", *(f"{column.name}{arrows[column.better]}" for column in known)]
    return markdown_table(header, [row for row in cells if any(row[1:])])


def _mean_cell(row: dict[str, float]) -> str:
    if not row["images"]:
        return ""
    form = ".1f" if row["unit"] == "MiB" else ".3f"
    return f"{row['mean']:{form}} ({row['low']:{form}} to {row['high']:{form}})"


def agreement_table(summary: TrustSummary) -> str:
    """Rank correlations of every two metrics with their intervals, the lowest first."""
    pairs = sorted(summary.agreements, key=lambda pair: pair.correlation)
    return markdown_table(
        ["metrics", "rank correlation"], [[f"{pair.first}, {pair.second}", _correlation(pair)] for pair in pairs]
    )


def _correlation(pair: MeasureAgreement | None) -> str:
    return "" if pair is None else f"{pair.correlation:.2f} ({pair.low:.2f} to {pair.high:.2f})"


def order_table(judged: Judged) -> str:
    """Rank correlations of the methods between two groups of images, and between halves that differ in nothing."""
    names = list(judged.groups)
    pairs = {
        f"{one}, {other}": (judged.groups[one], judged.groups[other])
        for one, other in zip(names[::2], names[1::2], strict=True)
    } | {"two halves alike": (judged.halves, ~judged.halves)}
    rows = []
    for measure in RANKED:
        if any(column.name == measure for column in judged.found.columns):
            parts = ([judged.found.where(mask) for mask in masks] for masks in pairs.values())
            rows.append([measure, *(_correlation(same_order(*two, measure)) for two in parts)])
    return markdown_table(["metric", *pairs], rows)


def networks_table(every: Sequence[Judged]) -> str:
    """Rank correlations, between every two networks, of the methods that both have."""
    pairs = list(combinations(every, 2))
    rows = []
    for measure in RANKED:
        cells = []
        for one, other in pairs:
            known = all(measure in {column.name for column in part.found.columns} for part in (one, other))
            cells.append(_correlation(same_order(one.found, other.found, measure) if known else None))
        rows.append([measure, *cells])
    return markdown_table(["metric", *(f"{one.title}, {other.title}" for one, other in pairs)], rows)


def same_order(one: Comparison, other: Comparison, measure: str) -> MeasureAgreement | None:
    """Whether methods come in the same order by a measure on other images; None where that is not known."""
    (column,) = (column for column in one.columns if column.name == measure)
    # Other images are drawn by themselves, with another seed.
    first, second = (
        ranked_measure(column, part.methods, shared_scores(part, measure), len(part.agreement), seed)
        for seed, part in enumerate((one, other))
    )
    return None if first is None or second is None else measure_agreement(first, second)


def difference_table(found: Comparison, rival: str, measures: Sequence[str]) -> str:
    """Each method minus a rival, paired, with interval and p-value."""
    known = [column.name for column in found.columns if column.name in measures]
    pairs = {name: {frozenset((one.first, one.second)): one for one in found.paired(name)} for name in known}
    rows = [
        [method, *(_difference(pairs[name][frozenset((method, rival))], rival) for name in known)]
        for method in found.methods[: len(found.agreement)]
        if method != rival
    ]
    return markdown_table([f"minus {rival}", *known], rows)


def _difference(pair: PairedDifference, rival: str) -> str:
    low, high = pair.interval
    mean, low, high = (pair.mean, low, high) if pair.second == rival else (-pair.mean, -high, -low)
    p = "p < 0.001" if pair.adjusted < 0.001 else f"p = {pair.adjusted:.2g}"
    p = p if pair.adjusted == pair.adjusted else "too few differ"
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f}), {p}"


def left_out(found: Comparison) -> str:
    """Maps that show nothing, and steps that failed, by method."""
    nothing = found.degenerate.sum(dim=1).tolist()
    empty = [f"{method}: {count}" for method, count in zip(found.methods, nothing, strict=True) if count]
    failed = sorted({f"{one.method}, {one.step}: {one.message}" for one in found.failures})
    return "\n".join([f"Degenerate maps: {', '.join(empty) or 'none'}.", *failed]) + "\n"


def rank_figure(every: Sequence[Judged]) -> bytes:
    """Ranks on all images of each network side by side, as a PNG: methods by metrics, the controls below."""
    explaining = [name for one in every for name in one.found.methods[: len(one.found.agreement)]]
    methods = sorted(dict.fromkeys(explaining), key=_last)
    axes = new_panels(3.4 * len(every) + 1.6, 1.5 + 0.26 * len(methods), 1, len(every))
    with styled():
        for axis, one in zip(axes, every, strict=True):
            _draw_ranks(axis, one, methods)
        for axis in axes[1:]:
            axis.set_yticklabels([])
        for axis in axes[:-1]:
            axis.collections[0].colorbar.remove()
    return to_png(axes[0], dpi=100)


def _last(name: str) -> bool:
    """The controls come last; others stay in their order."""
    return name in CONTROLS


def _draw_ranks(axis: object, judged: Judged, methods: Sequence[str]) -> None:
    summary = ranks_of(judged.found)
    known = {(row["method"], row["metric"]): row for row in summary.to_table()}
    controls = control_places(judged.found, summary)
    places = {key: row["rank"] for key, row in known.items()} | controls
    shown = torch.tensor([[places.get((name, measure), torch.nan) for measure in RANKED] for name in methods])
    most = max(len(one.methods) for one in summary.ranks)
    words = [[_rank_words(known.get((name, m)), controls.get((name, m))) for m in RANKED] for name in methods]
    draw_matrix(axis, shown, COLORS, (1, most), columns=RANKED, rows=methods, label="rank")
    write_numbers(axis, words, (shown - 1) / (most - 1), COLORS)
    axis.set_title(judged.title)


def _rank_words(row: dict[str, object] | None, control: int | None) -> str:
    if row is None:
        return "" if control is None else f"{control}"
    return f"{row['rank']:g}{'*' if row['unbeaten_controls'] else ''}"
