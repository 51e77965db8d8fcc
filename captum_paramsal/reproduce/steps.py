"""The step that a mistake asks for, on itself and on its neighbours: Levin et al., figures 6, 14 and 15."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.files.file_kind import checksum
from captum_paramsal.repair import step_transfer
from captum_paramsal.reproduce.curves import CURVE_PIECE, drawn_curves, ranking, step_curves
from captum_paramsal.reproduce.intervals import interval
from captum_paramsal.reproduce.neighbours import notes_on_neighbours, places_near
from captum_paramsal.reproduce.result import Drawn
from captum_paramsal.reproduce.subject import Subject
from captum_paramsal.stats import bootstrap_means
from captum_paramsal.viz import intervention_plot, new_panels, to_png

TRIED = 5
"""Neighbours that a step is tried on, and as many random other mistakes."""

_STEPS = (1, 2, 5, 10, 25)
"""Numbers of filters that are tried on neighbours, up to the most that are fine-tuned."""

_ARMS = ("most salient", "random", "last stage")


def one_step_figure(subject: Subject) -> Drawn:
    """Curves over the number of filters, for the mistakes themselves and for their neighbours."""
    near = _others(subject)
    sizes = [k for k in _STEPS if k < subject.settings.tuned] + [subject.settings.tuned]
    sizes = [k for k in sizes if k <= len(subject.filters)]
    curves = drawn_curves(step_curves(subject))
    tried = {arm: [_tried(subject, arm, k, near) for k in sizes] for arm in _ARMS}
    rows = [
        {"ranking": arm, "filters": k, **row}
        for arm, each in tried.items()
        for k, tensors in zip(sizes, each, strict=True)
        for row in _table(tensors, list(near))
    ]
    pictures = {**curves.pictures, "neighbors": _picture(tried["most salient"], list(near), sizes)}
    notes = notes_on_neighbours(len(subject.mistakes), min(TRIED, subject.settings.neighbors))
    return Drawn({**curves.tables, "neighbors": rows}, pictures, notes)


def _others(subject: Subject) -> dict[str, Tensor]:
    """Places among all mistakes of those that each mistake's step is tried on, ``(M, w)``."""
    scores = subject.scores(subject.raw_mistakes)
    count = len(scores)
    width = min(TRIED, count - 1, subject.settings.neighbors)
    spaces = {"all layers": scores, "early layers": scores[:, subject.early], "deep layers": scores[:, subject.deep]}
    near = {space: places_near(subject, rows)[:, :width] for space, rows in spaces.items()}
    generator = torch.Generator().manual_seed(subject.settings.seed)
    order = [torch.randperm(count - 1, generator=generator)[:width] for _ in range(count)]
    # Of the count - 1 others, those from the mistake's own number on are one further.
    near["random"] = torch.stack([drawn + (drawn >= number).long() for number, drawn in enumerate(order)])
    return near


def _tried(subject: Subject, arm: str, k: int, near: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the step on k filters does to others, ``(n, G w)`` for G groups of them."""
    joined = torch.cat(list(near.values()), dim=1)

    def make(part: Sequence[int]) -> dict[str, Tensor]:
        numbers = torch.tensor(subject.among_mistakes(part))
        places, back = torch.cat([numbers, joined[numbers].flatten()]).unique(return_inverse=True)
        inputs, labels = subject.read([subject.mistakes[place] for place in places.tolist()])
        made = step_transfer(
            subject.model,
            inputs,
            labels,
            ranking(subject, arm, part),
            subject.filters,
            others=back[len(part) :].view(len(part), -1),
            query=back[: len(part)],
            k=k,
            learning_rate=subject.settings.learning_rate,
            show_progress=False,
        )
        return {"own": made.own, "corrected": made.corrected, "rise": made.change_of_true}

    facts = {
        "k": k,
        "learning_rate": subject.settings.learning_rate,
        "seed": subject.settings.seed,
        "last": subject.last if arm == "last stage" else [],
        # Neighbours depend on which mistakes there are.
        "others": checksum("", {"others": joined}),
    }
    return subject.pieces.joined(f"step on {arm}, tried", subject.chosen, CURVE_PIECE, make, **facts)


def _groups(values: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Mean over each group of others, ``(n,)`` by name."""
    parts = values.double().view(len(values), len(names), -1).mean(dim=2)
    return {name: parts[:, place] for place, name in enumerate(names)}


def _table(tensors: Mapping[str, Tensor], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each group of others, beside the mistake itself."""
    cured, rise = (_groups(tensors[name], names) for name in ("corrected", "rise"))
    return [
        {
            "tried on": name,
            "steps": len(tensors["own"]),
            **interval("cured", cured[name]),
            **interval("cured, minus random", cured[name] - cured["random"]),
            **interval("rise of true class", rise[name]),
            **interval("rise, minus random", rise[name] - rise["random"]),
            **interval("the mistake itself cured", tensors["own"].double()),
        }
        for name in names
    ]


def _picture(tried: Sequence[Mapping[str, Tensor]], names: Sequence[str], sizes: Sequence[int]) -> bytes:
    """Share of neighbours cured, and rise of their true class, over the number of filters."""
    panels = new_panels(10.5, 3.6, 1, 2)
    shown = [name if name == "random" else f"nearest by {name}" for name in names]
    words = {"corrected": "others cured", "rise": "probability of their true class, change"}
    for axes, (key, measure) in zip(panels, words.items(), strict=True):
        of_groups = [_groups(tensors[key], names) for tensors in tried]
        curves = [
            torch.cat([torch.zeros(3, 1), bootstrap_means(torch.stack([each[name] for each in of_groups], dim=1))], 1)
            for name in names
        ]
        intervention_plot(torch.stack(curves), shown, measure, ax=axes, legend=key == "corrected", at=[0, *sizes])
    panels[0].set_title(f"steps of {len(tried[0]['own'])} mistakes on their most salient filters, tried on others")
    return to_png(panels[0])
