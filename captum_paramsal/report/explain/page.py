"""The HTML report: what each part of the page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from markupsafe import Markup

from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional.tails import ZERO_PROBABILITY
from captum_paramsal.report.explain.curves import without
from captum_paramsal.report.explain.data import USUAL, ExplanationData, Mistake, RankedFilter, usual_suspects
from captum_paramsal.report.explain.drawing import ProfileDrawing, draw_profile, layer_bands
from captum_paramsal.report.explain.exemplar_section import ExemplarRow, anchor_of, crop_pictures, exemplar_rows
from captum_paramsal.report.explain.near_section import NearCard, near_cards, near_rows
from captum_paramsal.report.explain.path_section import PathTile, path_tile
from captum_paramsal.report.explain.score_scale import SCORE_SCALES, ScoreScale
from captum_paramsal.report.explain.tail_section import tail_section
from captum_paramsal.report.explain.trace_section import TraceTile, neuron_pairs, trace_tiles
from captum_paramsal.report.shared.find_choices import name_choices, pair_choices
from captum_paramsal.report.shared.page_pictures import PagePictures
from captum_paramsal.report.shared.templating import render
from captum_paramsal.sources import Picture
from captum_paramsal.viz import PALETTE, new_axes, profile_plot, to_svg

_BARS = 10
_LINKS = 12
_PICTURED = 100


@dataclass(frozen=True)
class _Bar:
    """A guilty filter: how long its bar is, in percent, whether it is unusual, and where its exemplars are shown."""

    ranked: RankedFilter
    size: int
    unusual: bool
    link: str

    @property
    def endless(self) -> bool:
        """Beyond the end of its tail: the score is no number to read."""
        return self.ranked.p_value is not None and self.ranked.score >= ZERO_PROBABILITY


@dataclass(frozen=True)
class _Card:
    number: int
    mistake: Mistake
    label: str
    predicted: str
    map: Picture | None
    tiles: Sequence[TraceTile]
    bars: Sequence[_Bar]
    drawing: ProfileDrawing
    near: Sequence[NearCard]
    path: PathTile | None = None

    @property
    def pictured(self) -> bool:
        """Whether its nearest mistakes are shown, not only named: all of a thousand would slow down the page."""
        return self.number <= _PICTURED


@dataclass(frozen=True)
class _Row:
    """A filter or a pair of classes, how often it occurs among the mistakes, the cards where, and where to read on."""

    name: str
    count: int
    share: float
    correct_share: float
    cards: Sequence[int]
    links: int = _LINKS
    link: str = ""


def explain_page(explanation: ExplanationData) -> str:
    """The report as one HTML page that needs no other file."""
    scale = SCORE_SCALES[explanation.context["method"]["name"]]
    drawn = sorted(
        (mistake for mistake in explanation.mistakes if mistake.curve), key=lambda mistake: -mistake.confidence
    )
    numbers = {mistake.position: number for number, mistake in enumerate(drawn, 1)}
    looks = exemplar_rows(explanation)
    cards = _cards(explanation, drawn, numbers, scale, looks)
    common, bands = layer_bands(explanation.filters)
    tails, calibration = explanation.tails, explanation.calibration
    return render(
        "explain.html.jinja",
        explanation,
        cards=cards,
        photos=PagePictures(explanation.pictures),
        crops=crop_pictures(explanation),
        common=common,
        bands=bands,
        pot=explanation.context["method"]["name"] == "pot",
        ceiling=scale.ceiling,
        profile=_mean_profile(explanation, scale),
        tails=tail_section(tails, calibration) if tails and calibration else None,
        near=near_rows(explanation, numbers),
        neurons=neuron_pairs(explanation, numbers),
        guilty=_guilty(explanation, numbers),
        looks=looks,
        confusions=_confusions(explanation, numbers),
        pairs=pair_choices(((mistake.label, mistake.predicted) for mistake in drawn), explanation.class_name),
        suspects=name_choices(str(ranked.filter) for mistake in drawn for ranked in mistake.filters[:_BARS]),
    )


def _cards(
    explanation: ExplanationData,
    drawn: Sequence[Mistake],
    numbers: Mapping[int, int],
    scale: ScoreScale,
    looks: Sequence[ExemplarRow],
) -> list[_Card]:
    living, _ = without(explanation.filters, explanation.dead)
    cards = (_card(explanation, mistake, numbers, living, scale) for mistake in drawn)
    return [replace(card, path=path_tile(explanation, card.mistake, looks)) for card in cards]


def _card(
    explanation: ExplanationData,
    mistake: Mistake,
    numbers: Mapping[int, int],
    living: FilterIndex,
    scale: ScoreScale,
) -> _Card:
    limit = scale.limit(mistake.unusual, len(explanation.filters))
    return _Card(
        number=numbers[mistake.position],
        mistake=mistake,
        label=explanation.class_name(mistake.label),
        predicted=explanation.class_name(mistake.predicted),
        map=explanation.maps.get(mistake.position),
        tiles=trace_tiles(explanation, mistake),
        bars=_bars(explanation, mistake, limit),
        drawing=draw_profile(mistake, explanation.places, living, limit),
        near=near_cards(explanation, mistake, numbers),
    )


def _bars(explanation: ExplanationData, mistake: Mistake, limit: float) -> list[_Bar]:
    shown = mistake.filters[:_BARS]
    longest = max([limit, *(ranked.score for ranked in shown if ranked.score < ZERO_PROBABILITY)])
    # The first ``mistake.unusual`` filters are the unusual ones, as unusual means a high score.
    return [
        _Bar(
            ranked,
            size=round(100 * min(max(ranked.score, 0.0) / longest, 1.0)),
            unusual=place < mistake.unusual,
            link=anchor_of(explanation, ranked.filter),
        )
        for place, ranked in enumerate(shown)
    ]


def _mean_profile(explanation: ExplanationData, scale: ScoreScale) -> Markup:
    groups = {
        "correctly classified": (explanation.correct_group, PALETTE[0]),
        "mistakes": (explanation.mistake_group, PALETTE[1]),
    }
    drawn = [(name, group, color) for name, (group, color) in groups.items() if group.images]
    if not drawn:
        return Markup()
    living, columns = without(explanation.filters, explanation.dead)
    means = torch.tensor([group.mean for _, group, _ in drawn])[:, columns]
    labels = [f"{name} (mean of {group.images})" for name, group, _ in drawn]
    axes = profile_plot(
        means,
        living,
        new_axes(10.0, 4.2),
        labels=labels,
        colors=[color for *_, color in drawn],
        ylabel=f"score ({scale.unit})",
    )
    overall = " and ".join(f"{label} {mean:.2f}" for label, mean in zip(labels, means.mean(dim=1), strict=True))
    description = f"Mean saliency profile per layer. Mean score over all filters: {overall}."
    return Markup(to_svg(axes, description))  # noqa: S704 -- drawn by matplotlib, which escapes its texts


def _guilty(explanation: ExplanationData, numbers: Mapping[int, int]) -> list[_Row]:
    mistakes, correct = explanation.mistake_group, explanation.correct_group
    rows = []
    for column in usual_suspects(mistakes, correct):
        guilty = explanation.filters[column]
        cards = [
            numbers[mistake.position]
            for mistake in explanation.mistakes
            if mistake.position in numbers and any(ranked.filter == guilty for ranked in mistake.filters)
        ]
        count, shares = mistakes.appearances[column], (mistakes.share(column), correct.share(column))
        rows.append(_Row(str(guilty), count, *shares, sorted(cards), link=anchor_of(explanation, guilty)))
    return rows


def _confusions(explanation: ExplanationData, numbers: Mapping[int, int]) -> list[_Row]:
    pairs = Counter((mistake.label, mistake.predicted) for mistake in explanation.mistakes)
    rows = []
    for pair, count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:USUAL]:
        cards = [
            numbers[mistake.position]
            for mistake in explanation.mistakes
            if mistake.position in numbers and (mistake.label, mistake.predicted) == pair
        ]
        name = " → ".join(map(explanation.class_name, pair))
        rows.append(_Row(name, count, count / len(explanation.mistakes), 0.0, sorted(cards)))
    return [row for row in rows if row.count > 1]
