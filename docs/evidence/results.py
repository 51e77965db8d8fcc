"""What the studies have in common: results that are not computed again, and tables with intervals."""

import io
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import rankdata
from torch import Tensor

from captum_paramsal.stats.bootstrap import bootstrap_means

__all__ = ["Results", "auc", "auc_interval", "fewer_colours", "markdown_table", "percent", "with_interval"]

LOG = logging.getLogger("evidence")


class Results:
    """Results so far, in a file; what is in it is not computed again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}

    def once(self, key: str, find: Callable[[], Any]) -> Any:
        """The result under a key, computed now if it is not there."""
        if key not in self.found:
            self.found[key] = find()
            LOG.info("%s: %s", key, {k: v for k, v in self.found[key].items() if not isinstance(v, (str, list))})
            unfinished = self._path.with_suffix(".partial")
            unfinished.write_text(json.dumps(self.found, indent=0) + "\n", "utf-8")
            unfinished.replace(self._path)
        return self.found[key]


def with_interval(values: Tensor, digits: int = 1, *, percent: bool = True) -> str:
    """Mean of ``(N,)`` values with its 95 % bootstrap interval, such as ``"12.3 (10.1 to 14.2)"``."""
    mean, low, high = ((100 if percent else 1) * bootstrap_means(values[:, None])[:, 0]).tolist()
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def percent(values: Sequence[float], *, signed: bool = False) -> str:
    """Mean and interval of shares in percent, or of changes in points."""
    mean, low, high = ((f"{100 * one:+.1f}" if signed else f"{100 * one:.1f}") for one in values)
    return f"{mean} ({low} to {high})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as on the pages; all columns but the first are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive scores above a negative."""
    ranks, n = rankdata(scores), int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def auc_interval(scores: np.ndarray, positive: np.ndarray, resamples: int = 500) -> list[float]:
    """The same with its 95 % bootstrap interval over images."""
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(scores), size=len(scores)) for _ in range(resamples))
    values = [auc(scores[i], positive[i]) for i in drawn if 0 < positive[i].sum() < len(i)]
    return [auc(scores, positive), *np.quantile(values, [0.025, 0.975]).tolist()]


def fewer_colours(png: bytes) -> bytes:
    """The picture with 128 colours, at less than half the size."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(128).save(buffer, format="png", optimize=True)
    return buffer.getvalue()
