"""Which figures there are: one line for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from captum_paramsal.errors import InputError
from captum_paramsal.reproduce.curves import knock_out_figure, perturbation_figure
from captum_paramsal.reproduce.maps import cascade_figure, panels_figure
from captum_paramsal.reproduce.neighbours import features_figure, neighbors_figure
from captum_paramsal.reproduce.profiles import profiles_figure
from captum_paramsal.reproduce.regions import covered_figure, pasted_figure
from captum_paramsal.reproduce.result import Drawn
from captum_paramsal.reproduce.steps import one_step_figure
from captum_paramsal.reproduce.subject import Subject

LEVIN = "arXiv 2108.01335"


@dataclass(frozen=True)
class Figure:
    """A figure of a paper, or several that show the same.

    Attributes:
        name: What it is called here.
        summary: What it shows, in a line.
        paper: Where it is from.
        numbers: Its numbers there.
        make: Makes it.
    """

    name: str
    summary: str
    paper: str
    numbers: tuple[int, ...]
    make: Callable[[Subject], Drawn]

    @property
    def source(self) -> str:
        """Where it is from, in words."""
        several = "figures" if len(self.numbers) > 1 else "figure"
        return f"{self.paper}, {several} {', '.join(map(str, self.numbers))}"


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        figure.name: figure
        for figure in (
            Figure(
                "profiles",
                "mean profiles of mistakes and of correct images, raw and standardised",
                LEVIN,
                (1, 2, 9, 10),
                profiles_figure,
            ),
            Figure(
                "knock-out",
                "mistakes while filters are knocked out: most salient, random, least salient",
                LEVIN,
                (3,),
                knock_out_figure,
            ),
            Figure(
                "neighbors",
                "mistakes with the most similar profiles, by early and by deep layers",
                LEVIN,
                (5, 12, 13),
                neighbors_figure,
            ),
            Figure(
                "features",
                "mistakes with the most similar penultimate features, the control",
                LEVIN,
                (11,),
                features_figure,
            ),
            Figure(
                "one-step",
                "mistakes, and their neighbours, while filters take a step of fine-tuning",
                LEVIN,
                (6, 14, 15),
                one_step_figure,
            ),
            Figure("perturbation", "mistakes while filters get noise", LEVIN, (16,), perturbation_figure),
            Figure("covered", "mistakes whose most salient pixels are covered", LEVIN, (20,), covered_figure),
            Figure("pasted", "salient pixels of mistakes in correct images", LEVIN, (18,), pasted_figure),
            Figure("panels", "pixels that drive the salient filters, beside Grad-CAM", LEVIN, (21, 22), panels_figure),
            Figure("cascade", "the same in a network whose layers become random", LEVIN, (23,), cascade_figure),
        )
    }
)
"""All figures by name."""


def figure_named(name: str) -> Figure:
    """A figure by name.

    Raises:
        InputError: There is none such; the message lists all.

    >>> figure_named("knock-out").source
    'arXiv 2108.01335, figure 3'
    """
    if name in FIGURES:
        return FIGURES[name]
    near = get_close_matches(name, FIGURES, n=1, cutoff=0.6)
    nearest = f"; nearest: {near[0]}" if near else ""
    message = f"Expected the name of a figure, got {name!r}{nearest}. There are:\n{described_figures()}"
    raise InputError(message)


def described_figures() -> str:
    """A line for each figure: name, what it shows, where it is from."""
    width = max(map(len, FIGURES))
    return "\n".join(f"  {figure.name:<{width}}  {figure.summary} ({figure.source})" for figure in FIGURES.values())
