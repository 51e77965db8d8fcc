"""Mean profiles of mistakes and of correct images: Levin et al., figures 1, 2, 9 and 10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.reproduce.intervals import gap, interval
from captum_paramsal.reproduce.result import Drawn
from captum_paramsal.reproduce.subject import Subject
from captum_paramsal.viz import new_panels, profile_plot, to_png


def profiles_figure(subject: Subject) -> Drawn:
    """Raw and standardised profiles, with the same as shares of each profile's sum.

    A mistake has a larger loss, and with it larger gradients everywhere. As shares of their sum, profiles no longer
    tell that: what is left of a difference is one of shape.
    """
    forms = {
        "mean absolute gradient": (subject.raw_mistakes.double(), subject.raw_compared.double()),
        "z-score": tuple(subject.scores(rows).double() for rows in (subject.raw_mistakes, subject.raw_compared)),
        "share of the sum, standardised": _shares(subject),
    }
    names = [f"{len(subject.mistakes)} mistakes", f"{len(subject.compared)} correct images"]
    panels = new_panels(9.5, 6.4, 2)
    for axes, form in zip(panels, ("mean absolute gradient", "z-score"), strict=True):
        means = torch.stack([rows.mean(dim=0) for rows in forms[form]])
        profile_plot(means, subject.filters, axes, labels=names, ylabel=f"mean {form.removeprefix('mean ')}")
    panels[0].set_xlabel("")
    tables = {
        "": [row for form, rows in forms.items() for row in _by_layer(subject, form, *rows)],
        "filters": _by_filter(subject, forms),
    }
    return Drawn(tables, {"": to_png(panels[0])})


def _shares(subject: Subject) -> tuple[Tensor, Tensor]:
    """Shares of the profile's sum, standardised by those of the correct images."""
    # An image whose gradient is 0 everywhere has no shares.
    known = (rows.double()[rows.sum(dim=1) > 0] for rows in (subject.raw_mistakes, subject.raw_compared))
    wrong, right = (rows / rows.sum(dim=1, keepdim=True) for rows in known)
    mean, spread = right.mean(dim=0), right.std(dim=0)
    standardised = (torch.where(spread > 0, (rows - mean) / spread.clamp(min=1e-30), 0.0) for rows in (wrong, right))
    return next(standardised), next(standardised)


def _by_layer(subject: Subject, form: str, wrong: Tensor, right: Tensor) -> list[dict[str, Any]]:
    """A row for all filters, and one for each layer."""
    index = subject.filters
    rows = []
    for layer in ("all", *index.layers):
        columns = slice(None) if layer == "all" else index.slice(layer)
        group, other = (values[:, columns].mean(dim=1) for values in (wrong, right))
        cells = {**interval("mistakes", group), **interval("correct", other), **gap("difference", group, other)}
        rows.append({"profile": form, "layer": layer, **cells})
    return rows


def _by_filter(subject: Subject, forms: Mapping[str, tuple[Tensor, ...]]) -> list[dict[str, Any]]:
    """What the picture draws: means of every filter."""
    columns = {
        f"{form}, {group}": rows.mean(dim=0).tolist()
        for form, pair in forms.items()
        for group, rows in zip(("mistakes", "correct"), pair, strict=True)
    }
    return [
        {"filter": str(item), **{name: values[place] for name, values in columns.items()}}
        for place, item in enumerate(subject.filters)
    ]
