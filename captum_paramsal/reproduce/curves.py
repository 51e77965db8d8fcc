"""Mistakes while more and more filters are changed: Levin et al., figures 3 and 16."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.repair import (
    ControlImages,
    InterventionCurve,
    fine_tune_curve,
    knock_out_curve,
    perturb_curve,
    random_ranking,
)
from captum_paramsal.reproduce.intervals import named
from captum_paramsal.reproduce.result import Drawn
from captum_paramsal.reproduce.subject import Subject
from captum_paramsal.viz import intervention_plot, new_panels, to_png

CURVE_PIECE = 4
"""Mistakes of one piece: a minute or so of work."""

_POOL = 4
"""Correct images of a piece that the control images are drawn from, for each that a mistake needs."""

_MEASURES = {
    "change of wrong class": "probability of the wrong class, change",
    "change of true class": "probability of the true class, change",
    "corrected": "mistakes corrected",
    "correct images broken": "correct images broken",
}


def knock_out_figure(subject: Subject) -> Drawn:
    """The first filters set to zero: most salient, random, least salient, and by raw gradient (figure 3)."""
    arms = ("most salient", "random", "least salient", "raw gradient")
    k = min(subject.settings.knocked, len(subject.filters))
    return drawn_curves({arm: curve(subject, "knocked out", knock_out_curve, arm, k) for arm in arms})


def perturbation_figure(subject: Subject) -> Drawn:
    """Noise on the first filters (figure 16), and noise relative to the filters' own norm."""
    arms = ("most salient", "random", "least salient")
    k = min(subject.settings.tuned, len(subject.filters))
    curves = {
        f"{arm}{', relative' if relative else ''}": curve(
            subject, "perturbed", perturb_curve, arm, k, relative=relative, seed=subject.settings.seed
        )
        for relative in (False, True)
        for arm in arms
    }
    return drawn_curves(curves)


def step_curves(subject: Subject) -> dict[str, InterventionCurve]:
    """One step of fine-tuning on the first filters, with each ranking."""
    arms = ("most salient", "random", "least salient", "last stage", "raw gradient")
    k = min(subject.settings.tuned, len(subject.filters))
    rate = subject.settings.learning_rate
    return {arm: curve(subject, "fine-tuned", fine_tune_curve, arm, k, learning_rate=rate) for arm in arms}


def ranking(subject: Subject, arm: str, positions: Sequence[int]) -> Tensor:
    """A score of every filter for these mistakes, ``(n, F)``, the highest first."""
    if arm == "random":
        # Each by its position, so that the cut into pieces does not matter.
        seed = subject.settings.seed
        return torch.cat([random_ranking(subject.filters, 1, seed * 1_000_003 + place) for place in positions])
    raw = subject.raw_mistakes[subject.among_mistakes(positions)]
    if arm == "raw gradient":
        return raw
    scores = subject.scores(raw)
    if arm == "least salient":
        return -scores
    if arm == "last stage":
        beyond = torch.ones(scores.shape[1], dtype=torch.bool)
        beyond[subject.last] = False
        return scores.masked_fill(beyond, -torch.inf)
    return scores


def curve(
    subject: Subject, name: str, run: Callable[..., InterventionCurve], arm: str, k: int, **settings: Any
) -> InterventionCurve:
    """A curve over the chosen mistakes, in pieces."""

    def make(part: Sequence[int]) -> Mapping[str, Tensor]:
        inputs, labels = subject.read(part)
        made = run(
            subject.model,
            inputs,
            labels,
            ranking(subject, arm, part),
            subject.filters,
            k=k,
            controls=_controls(subject, part),
            show_progress=False,
            **settings,
        )
        names = ("labels", "predicted", "wrong", "true", "corrected", "broken")
        return {name: getattr(made, name) for name in names}

    columns = subject.last if arm == "last stage" else []
    facts = {"k": k, "controls": subject.settings.controls, "seed": subject.settings.seed, "last": columns, **settings}
    title = f"{name}, {arm}" + (", relative" if settings.get("relative") else "")
    tensors = subject.pieces.joined(title, subject.chosen, CURVE_PIECE, make, **facts)
    return InterventionCurve(name, **tensors, context={"ranking": arm, "k": k, **settings})


def _controls(subject: Subject, part: Sequence[int]) -> ControlImages | None:
    """Correct images, others for each piece and the same for every ranking; none where there are too few."""
    wanted = subject.settings.controls
    if len(subject.correct) < wanted:
        return None
    seed = subject.settings.seed * 1_000_003 + part[0]
    order = torch.randperm(len(subject.correct), generator=torch.Generator().manual_seed(seed))
    inputs, labels = subject.read([subject.correct[place] for place in order[: _POOL * wanted].tolist()])
    return ControlImages(inputs, labels, wanted, seed)


def drawn_curves(curves: Mapping[str, InterventionCurve], measures: Sequence[str] = tuple(_MEASURES)) -> Drawn:
    """Curves of every ranking, and how far each is from the random one."""
    panels = new_panels(10.5, 6.6, 2, 2)
    count = len(next(iter(curves.values())))
    summaries = {arm: each.summary() for arm, each in curves.items()}
    for axes, measure in zip(panels, measures, strict=True):
        values = torch.stack([summary[measure] for summary in summaries.values()])
        intervention_plot(values, list(curves), _MEASURES[measure], ax=axes, legend=False)
        axes.locator_params(axis="x", integer=True)
    panels[0].set_title(f"{count} mistakes, 95 % intervals")
    handles, names = panels[0].get_legend_handles_labels()
    panels[0].figure.legend(handles, names, loc="outside upper center", ncols=6, fontsize=8, frameon=False)
    rows = [{"ranking": arm, **row} for arm, each in curves.items() for row in each.to_table()]
    return Drawn({"": rows, "minus_random": _gaps(curves)}, {"": to_png(panels[0])})


def _gaps(curves: Mapping[str, InterventionCurve]) -> list[dict[str, Any]]:
    """Paired differences to the random ranking of the same kind."""
    rows = []
    for arm, each in curves.items():
        control = "random, relative" if arm.endswith(", relative") else "random"
        if arm == control:
            continue
        differences = each.difference(curves[control])
        rows += [
            {
                "ranking": arm,
                "minus": control,
                "filters": k,
                "images": len(each),
                **{
                    cell: value
                    for name, values in differences.items()
                    for cell, value in named(name, values[:, k].tolist()).items()
                },
            }
            for k in range(each.steps + 1)
        ]
    return rows
