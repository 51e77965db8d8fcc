"""How figures look, and how they leave: no window, no global state."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

# Okabe and Ito's colours, told apart by people with any kind of colour blindness; blue and vermilion come
# first, for figures of two.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK = "#1b1e23"

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    # Text stays text, so that it can be read aloud, found and scaled; ids that do not change from run to run.
    "svg.fonttype": "none",
    "svg.hashsalt": "captum_paramsal",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "ytick.color": INK,
    "ytick.labelsize": 9,
}


@contextmanager
def styled() -> Iterator[None]:
    """The package's style inside the ``with``, the caller's own afterwards."""
    with mpl.rc_context(_STYLE):
        yield


def new_axes(width: float = 9.0, height: float = 3.4) -> Axes:
    """Axes on a figure of their own that no window system knows of.

    Args:
        width: Of the figure, in inches.
        height: Of the figure, in inches.
    """
    return new_panels(width, height, 1)[0]


def new_panels(width: float, height: float, rows: int, columns: int = 1) -> tuple[Axes, ...]:
    """:func:`new_axes` several times on one figure, row by row; those below each other share their horizontal axis."""
    with styled():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, sharex="col", squeeze=False)
    return tuple(grid.flatten().tolist())


def to_png(axes: Axes, dpi: float = 150) -> bytes:
    """The figure of these axes as a PNG file."""
    buffer = io.BytesIO()
    with styled():
        _figure(axes).savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def to_svg(axes: Axes, description: str, *, prefix: str = "") -> str:
    """The figure of these axes as an ``<svg>`` element for an HTML page.

    Its ink is the page's own text colour, so it can be read on a light and on a dark page.

    Args:
        axes: Whose figure.
        description: What a person who cannot see the figure should know; no markup.
        prefix: Before every id, so that several figures can stand on one page.
    """
    buffer = io.StringIO()
    with styled():
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        _figure(axes).savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    body = text[text.index("<svg") :]
    body = (
        re.sub(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"', "", body.partition(">")[0]) + body[body.index(">") :]
    )
    # What nothing refers to needs no id; a picture that stands twice in a figure has one id, from its content.
    referred = set(re.findall(r'[="(]#([^")]*)', body))
    body = re.sub(r'\sid="([^"]*)"', lambda found: found[0] if found[1] in referred else "", body)
    body = re.sub(r' d="([^"]*)"', lambda path: f' d="{_shortened(path[1])}"', body)
    # A page has a font of its own, and text that is not turned needs no turn.
    body = re.sub(r"font-family: [^;\"]*", "font-family: sans-serif", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = re.sub(r'(\sid="|"#|url\(#)', rf"\g<1>{prefix}", body)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).replace(INK, "currentColor").strip()


def _shortened(path: str) -> str:
    """An SVG path to a hundredth of a point, finer than any screen; lines after a line, or a start, need no letter.

    >>> _shortened("M 0.1234 1 L 2 3 L 4 5 C 1 1 2 2 3 3 L 6 7 L 8 9 z")
    'M 0.12 1 2 3 4 5 C 1 1 2 2 3 3 L 6 7 8 9 z'
    """
    rounded = re.sub(r"(\.\d\d)\d+", r"\1", path)
    return re.sub(r"(?<=[ML] )([-\d. ]+ L )+", lambda lines: lines[0].replace("L ", ""), " ".join(rounded.split()))


def _figure(axes: Axes) -> Figure:
    figure = axes.figure
    while isinstance(figure, SubFigure):
        figure = figure.figure
    return figure
