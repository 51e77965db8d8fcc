"""What a comparison found: every method's score by every metric on every image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from typing_extensions import deprecated

from captum_paramsal.comparison.statistics import PairedDifference, paired_differences
from captum_paramsal.comparison.trust import TrustSummary
from captum_paramsal.errors import InputError
from captum_paramsal.files.kinds import COMPARISON
from captum_paramsal.metrics import Column
from captum_paramsal.stats import bootstrap_mean
from captum_paramsal.summary import Summarized

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from captum_paramsal.viz import MapScale

_IMAGES_IN = {"scores": 2, "degenerate": 1, "targets": 0, "predicted": 0, "agreements": 0}
"""Dimension of the images, by tensor."""
_SAME = ("model", "images", "targets", "boxes")
"""What of the context must be the same where methods are added."""


@dataclass(frozen=True)
class Failure:
    """A method or a metric that raised on an image.

    Attributes:
        method: Name of the method.
        image: Number of the image.
        step: ``"maps"``, or the name of the metric.
        message: What was raised.
    """

    method: str
    image: int
    step: str
    message: str


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Summarized):
    """Scores of M methods by C columns on N images.

    Attributes:
        methods: Names of the methods.
        columns: What is measured.
        scores: ``(M, C, N)`` float64; NaN where a map is degenerate, a method failed or a metric cannot judge.
        degenerate: Maps that are all the same or not finite, ``(M, N)`` bool.
        targets: Class that is explained, ``(N,)``.
        predicted: Class that the model predicts, ``(N,)``.
        agreements: Rank correlation of every two methods' maps of an image, ``(N, P, P)``, for the P first of the
            methods; the others are baselines, which have no maps.
        failures: What went wrong.
        kept: Numbers of the images whose pictures and maps are kept.
        pictures: These images, as the model gets them, each ``(C, H, W)``.
        maps: Their maps by each method, ``(M, H, W)``, signed sums over the channels.
        context: Versions, fingerprint of the model, settings, seeds.
    """

    methods: tuple[str, ...]
    columns: tuple[Column, ...]
    scores: Tensor
    degenerate: Tensor
    targets: Tensor
    predicted: Tensor
    agreements: Tensor
    failures: tuple[Failure, ...]
    kept: tuple[int, ...]
    pictures: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]
    context: Mapping[str, Any]

    def _maps(self) -> Sequence[Tensor]:
        """Those of the first image that is kept, by each method."""
        return list(self.maps[0].abs()) if self.maps else ()

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def agreement(self) -> Tensor:
        """Mean over images of the rank correlation of two methods' maps, ``(P, P)``; NaN where no image has one."""
        mean: Tensor = self.agreements.nanmean(dim=0)
        return mean

    def column(self, name: str) -> Tensor:
        """Scores of one column, ``(M, N)``.

        Raises:
            InputError: There is none of this name.
        """
        names = [column.name for column in self.columns]
        if name not in names:
            message = f"Expected one of the columns {', '.join(names)}, got {name!r}."
            raise InputError(message)
        return self.scores[:, names.index(name)]

    def where(self, images: Tensor) -> Comparison:
        """The comparison on some of the images, ``(N,)`` bool.

        Raises:
            InputError: Not one bool per image.
        """
        if images.shape != (len(self),) or images.dtype != torch.bool:
            message = f"Expected one bool per image, ({len(self)},), got {images.dtype} {tuple(images.shape)}."
            raise InputError(message)
        return self.reordered(images.nonzero()[:, 0])

    def reordered(self, order: Tensor) -> Comparison:
        """Images in another order, all or some of them: their numbers as they are now, ``(K,)``."""
        places = {number: place for place, number in enumerate(order.tolist())}
        shown = [i for i, number in enumerate(self.kept) if number in places]
        shown.sort(key=lambda i: places[self.kept[i]])
        return replace(
            self,
            **{name: getattr(self, name).index_select(dim, order) for name, dim in _IMAGES_IN.items()},
            failures=tuple(
                replace(failure, image=places[failure.image]) for failure in self.failures if failure.image in places
            ),
            kept=tuple(places[self.kept[i]] for i in shown),
            pictures=tuple(self.pictures[i] for i in shown),
            maps=tuple(self.maps[i] for i in shown),
        )

    def with_methods_of(self, other: Comparison) -> Comparison:
        """Methods that were compared on the same images later, in one table with these.

        Columns that one of the two did not measure are NaN for its methods, and so is the rank agreement between
        methods of the two. Give both calls of ``compare`` the same metrics and seeds where rows are to be compared.

        Args:
            other: Methods of other names on the same images, targets and boxes, by the same model.

        Raises:
            InputError: Other images, targets, boxes or another model, or a method of the same name.
        """
        _require_same_images(self, other)
        explained, added = len(self.agreement), len(other.agreement)
        twice = set(self.methods[:explained]) & set(other.methods[:added])
        if twice:
            message = f"Expected methods of different names, got {', '.join(sorted(twice))} in both."
            raise InputError(message)
        columns = list({column.name: column for column in (*self.columns, *other.columns)}.values())
        methods, start = (*self.methods, *other.methods), len(self.methods)
        # Methods with maps come first; baselines of the other that this one has too are left out.
        rows = [
            *range(explained),
            *range(start, start + added),
            *range(explained, start),
            *(row for row in range(start + added, len(methods)) if methods[row] not in self.methods[explained:]),
        ]
        kept = [number for number in self.kept if number in other.kept]
        shown = [(self.kept.index(number), other.kept.index(number)) for number in kept]
        return replace(
            self,
            methods=tuple(methods[row] for row in rows),
            columns=tuple(columns),
            scores=torch.cat([_widened(self, columns), _widened(other, columns)])[rows],
            degenerate=torch.cat([self.degenerate, other.degenerate])[rows],
            agreements=_agreements(self.agreements, other.agreements),
            failures=(*self.failures, *other.failures),
            kept=tuple(kept),
            pictures=tuple(self.pictures[mine] for mine, _ in shown),
            maps=tuple(torch.cat([self.maps[mine], other.maps[theirs]]) for mine, theirs in shown),
            context={**self.context, "with_methods_of": dict(other.context)},
        )

    @deprecated("`Comparison.beside` is now `Comparison.with_methods_of`; the old name goes with version 0.3.")
    def beside(self, other: Comparison) -> Comparison:
        """:meth:`with_methods_of` by its old name."""
        return self.with_methods_of(other)

    def table(self, seed: int = 0) -> list[dict[str, Any]]:
        """One row per method and column: mean over images with its 95 % bootstrap interval, and how many images."""
        rows = []
        for m, method in enumerate(self.methods):
            for c, column in enumerate(self.columns):
                values = self.scores[m, c]
                mean, low, high = bootstrap_mean(values, seed)
                about = {"method": method, "metric": column.name, "unit": column.unit, "better": column.better}
                counts = {"images": int((~values.isnan()).sum()), "degenerate": int(self.degenerate[m].sum())}
                failed = len({failure.image for failure in self.failures if failure.method == method})
                rows.append({**about, "mean": mean, "low": low, "high": high, **counts, "failed": failed})
        return rows

    def per_image(self) -> list[dict[str, Any]]:
        """One row per image and method: target, prediction, whether the map is degenerate, and every column."""
        names = [column.name for column in self.columns]
        return [
            {
                "image": n,
                "target": int(self.targets[n]),
                "predicted": int(self.predicted[n]),
                "method": method,
                "degenerate": bool(self.degenerate[m, n]),
                **dict(zip(names, self.scores[m, :, n].tolist(), strict=True)),
            }
            for n in range(len(self))
            for m, method in enumerate(self.methods)
        ]

    def paired(self, column: str, seed: int = 0) -> list[PairedDifference]:
        """Every two methods on the same images, by one column.

        Raises:
            InputError: There is no such column.
        """
        return paired_differences(list(self.methods), self.column(column), seed)

    def trust(self, seed: int = 0) -> TrustSummary:
        """Which of the methods to trust, as far as these images say: ranks with intervals, and the same in words.

        Images are drawn again and again, the same ones for all methods and measures. Ask `where` for mistakes and
        correct images apart.

        Args:
            seed: Fixes the drawing.
        """
        return TrustSummary.of(self.columns, self.methods, self.scores, len(self.agreement), seed)

    def plot(
        self, kind: Literal["grid", "bars", "agreement"] = "grid", *, scale: MapScale = "map"
    ) -> Axes | tuple[Axes, ...]:
        """Draw the maps that are kept, the means of all columns, or how similar the methods are.

        Args:
            kind: ``"grid"``, see :func:`captum_paramsal.viz.comparison_grid`; ``"bars"``, axes for every column, see
                :func:`captum_paramsal.viz.metric_panels`; or ``"agreement"``, see
                :func:`captum_paramsal.viz.agreement_plot`.
            scale: Of the grid: which maps share a scale of colours.

        Raises:
            InputError: Another kind, or no map was kept.
        """
        from captum_paramsal import viz  # noqa: PLC0415 -- matplotlib is only needed here

        explained = self.methods[: len(self.agreement)]
        if kind == "agreement":
            return viz.agreement_plot(self.agreement, explained)
        if kind == "bars":
            rows = [[row[end] for row in self.table()] for end in ("mean", "low", "high")]
            shape = len(self.methods), len(self.columns)
            means, low, high = (torch.tensor(numbers, dtype=torch.float64).reshape(shape) for numbers in rows)
            names, units, better = zip(
                *((column.name, column.unit, column.better) for column in self.columns), strict=True
            )
            return viz.metric_panels(means, low, high, self.methods, names, units=units, better=better)
        if kind != "grid":
            message = f"Expected 'grid', 'bars' or 'agreement', got {kind!r}."
            raise InputError(message)
        images = [f"image {n}" for n in self.kept]
        return viz.comparison_grid(self.pictures, self.maps, explained, names=images, scale=scale)

    def to_dataframe(self) -> pd.DataFrame:
        """:meth:`per_image` as a pandas ``DataFrame``.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415 -- optional

        return pd.DataFrame(self.per_image())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            SourceError: The file cannot be written.
        """
        COMPARISON.save(path, *packed(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Comparison:
        """Read a file that was saved, whole or not at all.

        Raises:
            SourceError: No such file, damaged, truncated, or not a comparison of a version that is known.
        """
        return COMPARISON.load(path, unpacked)

    @classmethod
    def joined(cls, parts: Sequence[Comparison]) -> Comparison:
        """Comparisons of disjoint sets of images by the same methods and metrics, as one."""
        starts = list(accumulate((len(part) for part in parts[:-1]), initial=0))
        placed = list(zip(parts, starts, strict=True))
        tensors: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts], dim) for name, dim in _IMAGES_IN.items()
        }
        return replace(
            parts[0],
            **tensors,
            failures=tuple(
                replace(failure, image=failure.image + start) for part, start in placed for failure in part.failures
            ),
            kept=tuple(number + start for part, start in placed for number in part.kept),
            pictures=tuple(picture for part in parts for picture in part.pictures),
            maps=tuple(maps for part in parts for maps in part.maps),
        )


def packed(comparison: Comparison) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of a comparison, and what JSON can hold of the rest."""
    tensors = {name: getattr(comparison, name) for name in _IMAGES_IN}
    tensors |= {f"picture {i}": picture for i, picture in enumerate(comparison.pictures)}
    tensors |= {f"maps {i}": maps for i, maps in enumerate(comparison.maps)}
    content = {
        "methods": list(comparison.methods),
        "columns": [asdict(column) for column in comparison.columns],
        "failures": [asdict(failure) for failure in comparison.failures],
        "kept": list(comparison.kept),
        "context": dict(comparison.context),
    }
    return tensors, content


def unpacked(tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> Comparison:
    """The comparison that was packed."""
    kept = tuple(content["kept"])
    return Comparison(
        methods=tuple(content["methods"]),
        columns=tuple(Column(**column) for column in content["columns"]),
        failures=tuple(Failure(**failure) for failure in content["failures"]),
        kept=kept,
        pictures=tuple(tensors[f"picture {i}"] for i in range(len(kept))),
        maps=tuple(tensors[f"maps {i}"] for i in range(len(kept))),
        context=content["context"],
        **{name: tensors[name] for name in _IMAGES_IN},
    )


def _require_same_images(first: Comparison, second: Comparison) -> None:
    other = [name for name in _SAME if first.context.get(name) != second.context.get(name)]
    if len(first) != len(second):
        other.append(f"number of images, {len(first)} and {len(second)}")
    elif not (first.targets.equal(second.targets) and first.predicted.equal(second.predicted)):
        other.append("classes")
    if other:
        message = f"Expected comparisons of the same images by the same model, got other {', '.join(other)}."
        raise InputError(message)


def _widened(part: Comparison, columns: list[Column]) -> Tensor:
    """Scores with all columns, NaN where one was not measured."""
    names = [column.name for column in columns]
    scores = torch.full((len(part.methods), len(columns), len(part)), torch.nan, dtype=torch.float64)
    scores[:, [names.index(column.name) for column in part.columns]] = part.scores
    return scores


def _agreements(first: Tensor, second: Tensor) -> Tensor:
    """NaN between methods of the two, whose maps are gone."""
    count, size = first.shape[1], first.shape[1] + second.shape[1]
    both = first.new_full((len(first), size, size), torch.nan)
    both[:, :count, :count], both[:, count:, count:] = first, second
    return both
