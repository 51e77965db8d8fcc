"""One method on one batch of images: its maps, what they cost, and what the metrics say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from captum_paramsal.comparison.cost import measured
from captum_paramsal.comparison.result import Failure
from captum_paramsal.metrics import Case, InputMaps, Metric, per_pixel
from captum_paramsal.metrics.model_state import explaining

_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class NamedMethod:
    """A method with its name.

    Attributes:
        name: In tables.
        explain: Makes maps.
        rebuild: Makes the same method for another model of the same layers; None where that is not known.
    """

    name: str
    explain: InputMaps
    rebuild: Callable[[nn.Module], InputMaps] | None = None


def case_of(whole: Case, rows: Sequence[int]) -> Case:
    """Some of the images of a case."""
    chosen = list(rows)
    boxes = None if whole.boxes is None else [whole.boxes[row] for row in chosen]
    return replace(
        whole, images=whole.images[chosen], targets=whole.targets[chosen], maps=whole.maps[chosen], boxes=boxes
    )


class BatchScores:
    """A method's maps of some images, and their scores.

    Args:
        method: The method.
        batch: The images, as a case with maps of nothing.

    Attributes:
        cost: Seconds and MiB per image, ``(2, N)``.
        degenerate: Maps that are all the same or not finite, ``(N,)``.
        pixels: One number per pixel, ``(N, H, W)`` float64; NaN without a map.
        failures: What was raised, with the number of the image in the batch.
    """

    def __init__(self, method: NamedMethod, batch: Case) -> None:
        count = len(batch)
        self.cost = torch.full((2, count), torch.nan, dtype=torch.float64)
        self.degenerate = torch.zeros(count, dtype=torch.bool)
        self.pixels = torch.full((count, *batch.size), torch.nan, dtype=torch.float64)
        self.failures: list[Failure] = []
        self._method = method
        self._batch = batch
        self._maps = torch.full_like(batch.images, torch.nan)
        self._known: list[int] = []
        for rows, (maps, seconds, memory) in self._tried(list(range(count)), "maps", self._explained):
            self._maps[rows] = maps.to(self._maps)
            self.cost[:, rows] = torch.tensor([[seconds], [memory]], dtype=torch.float64) / len(rows)
            self._known += rows
        if self._known:
            self.degenerate[self._known] = self._case(self._known).degenerate.cpu()
            self.pixels[self._known] = per_pixel(self._maps[self._known])

    def scores(self, metrics: Sequence[Metric]) -> Tensor:
        """Every column of every metric, ``(C, N)`` float64."""
        rows = [torch.full((len(metric.columns), len(self._batch)), torch.nan).double() for metric in metrics]
        for scores, metric in zip(rows, metrics, strict=True):
            for some, values in self._tried(self._known, metric.name, _scoring(metric, self._case)):
                scores[:, some] = torch.stack([values[column.name] for column in metric.columns])
        return torch.cat(rows) if rows else torch.zeros(0, len(self._batch), dtype=torch.float64)

    def _explained(self, rows: list[int]) -> tuple[Tensor, float, float]:
        images, targets = self._batch.images[rows], self._batch.targets[rows]
        with explaining(self._batch.model, seed=0):
            return measured(lambda: self._method.explain(images, target=targets), images.device)

    def _case(self, rows: list[int]) -> Case:
        whole = self._batch.explained_by(self._method.explain, self._maps, self._method.rebuild)
        return whole if len(rows) == len(whole) else case_of(whole, rows)

    def _tried(
        self, rows: list[int], step: str, run: Callable[[list[int]], _Result]
    ) -> Iterator[tuple[list[int], _Result]]:
        """Run all together, and one by one where that fails; what still fails is kept as a failure."""
        if not rows:
            return
        try:
            result = run(rows)
        except Exception as error:  # noqa: BLE001 -- whatever a method raises, the others go on
            if len(rows) == 1:
                self.failures.append(Failure(self._method.name, rows[0], step, f"{type(error).__name__}: {error}"))
                return
        else:
            yield rows, result
            return
        for row in rows:
            yield from self._tried([row], step, run)


def _scoring(metric: Metric, case: Callable[[list[int]], Case]) -> Callable[[list[int]], dict[str, Tensor]]:
    return lambda rows: metric.score(case(rows))
