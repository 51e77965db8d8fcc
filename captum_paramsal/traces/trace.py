"""What a trace found: the selected neurons of every layer, and the pixels that they lead to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from typing_extensions import deprecated

from captum_paramsal.errors import InputError
from captum_paramsal.files.kinds import TRACE
from captum_paramsal.filters import Filter
from captum_paramsal.functional.fixations import box_of_points, crowded, heat_map
from captum_paramsal.functional.mass_boxes import EVEN_VOTES, box_of_mass
from captum_paramsal.summary import Summarized
from captum_paramsal.traces.restriction import Restriction, runs_of

BoxRule = Literal["mass", "points"]
"""How a trace becomes a box, see :meth:`Trace.boxes`."""

ShareOf = Literal["neurons", "score"]
"""Of what a share is, see :meth:`Trace.shares`."""

_FIELDS = ("image", "channel", "y", "x", "score", "current", "preceding", "succeeding")


@dataclass(frozen=True, eq=False)
class Neurons:
    """M selected neurons of one layer, those of all images together, each once.

    Attributes:
        image: Which image, ``(M,)`` int64.
        channel: Which channel or feature.
        y: Row in the layer's map; of a volume the rows of all slices, one slice below the other; of a sequence the
            place; 0 in a vector.
        x: Column in the layer's map; 0 in a vector or a sequence.
        score: Ω, by which the neuron was selected; the class score itself for the starting neuron.
        current: Z_cur, what it contributes to the neuron after it.
        preceding: Z_pre, the largest contribution into it; 0 where its weight is 0, which leaves it out.
        succeeding: Z_suc, for how many selected neurons it is the strongest; 0 for the starting neuron.
        size: Channels, height and width of the layer's map; the height is that of all slices.
    """

    image: Tensor
    channel: Tensor
    y: Tensor
    x: Tensor
    score: Tensor
    current: Tensor
    preceding: Tensor
    succeeding: Tensor
    size: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.image)

    def keys(self) -> Tensor:
        """A number for each, ``(M,)``, the same for the same place of the same channel of the same image."""
        channels, height, width = self.size
        return ((self.image * channels + self.channel) * height + self.y) * width + self.x

    def where(self, rows: Tensor) -> Neurons:
        """Some of them, by a mask ``(M,)`` or by number."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _FIELDS})

    def of_image(self, image: int) -> Neurons:
        """Those of one image."""
        return self.where(self.image == image)


@dataclass(frozen=True, eq=False)
class Points:
    """K pixels, those of all images together, sorted by image and place.

    Attributes:
        image: Which image, ``(K,)`` int64.
        place: Where in it, ``(K, D)``: row and column; of a volume slice, row and column; of a sequence the place.
        score: The largest Ω that led there.
    """

    image: Tensor
    place: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.image)

    @property
    def y(self) -> Tensor:
        """Row; of a sequence the place."""
        return self.place[:, -2] if self.place.shape[1] > 1 else self.place[:, 0]

    @property
    def x(self) -> Tensor:
        """Column; 0 in a sequence."""
        return self.place[:, -1] if self.place.shape[1] > 1 else torch.zeros_like(self.image)

    def of_image(self, image: int) -> Tensor:
        """Places of one image's pixels, ``(K, D)``."""
        return self.place[self.image == image]


@dataclass(frozen=True, eq=False, repr=False)
class Trace(Summarized):
    """The way of a decision from the class scores back to the pixels.

    Attributes:
        layers: Selected neurons by layer: ``"output"``, then layers by name from the last to the first, then
            ``"input"``. An image without positive evidence has no neurons from there on, and a layer that only makes
            a gate has none at all.
        labels: Class that each image was traced for, ``(N,)``; of several the one with the highest score.
        shape: Of the inputs, ``(N, C, H, W)``; of volumes ``(N, C, D, H, W)``, of sequences ``(N, C, L)``.
        restriction: The filters that it goes through; None for a whole trace.
    """

    layers: Mapping[str, Neurons]
    labels: Tensor
    shape: tuple[int, ...]
    restriction: Restriction | None = None

    def _facts(self) -> Mapping[str, Any]:
        facts = {"layers": self.layers, "labels": self.labels, "shape": self.shape}
        if self.restriction is None:
            return facts
        filters = list(dict.fromkeys(map(str, self.restriction.filters)))
        reached = f"in {int(self.reached.sum())} of {self.shape[0]} images"
        return facts | {"through": f"{filters[0] if len(filters) == 1 else f'{len(filters)} filters'}, {reached}"}

    def _maps(self) -> Sequence[Tensor]:
        return list(self.heatmap())

    @property
    @deprecated("`Trace.targets` is now `Trace.labels`; the old name goes with version 0.3.")
    def targets(self) -> Tensor:
        """The old name of ``labels``."""
        return self.labels

    @property
    def pixels(self) -> Points:
        """The pixels that the trace ends in, each once."""
        found, sizes = self.layers["input"], self.shape[2:]
        place = found.y * found.size[2] + found.x
        key, owner = torch.unique(found.image * prod(sizes) + place, return_inverse=True)
        score = torch.full(key.shape, -torch.inf, dtype=found.score.dtype, device=key.device)
        score = score.scatter_reduce(0, owner, found.score, "amax")
        places = torch.stack(torch.unravel_index(key % prod(sizes), sizes), dim=1)
        return Points(key // prod(sizes), places, score)

    def points(self, image: int, *, outliers: bool = False) -> Tensor:
        """Rows and columns ``(K, 2)`` of an image's pixels, without outliers unless they are asked for.

        Of volumes slices, rows and columns, ``(K, 3)``; of sequences places, ``(K, 1)``.
        """
        found = self.pixels.of_image(image)
        return found if outliers else found[crowded(found, self.shape[2:])]

    def boxes(self, rule: BoxRule = "points") -> Tensor:
        """Box ``(x1, y1, x2, y2)`` of every image, ``(N, 4)`` float64, by the pixels without outliers.

        x2 and y2 are exclusive. NaN for an empty trace. Of volumes ``(x1, y1, z1, x2, y2, z2)``, of sequences
        ``(x1, x2)``.

        Args:
            rule: ``"points"``, the papers' rule, is the tight box of the pixels: where the evidence is. ``"mass"`` is a
                guess of how far a photo's object reaches where there are few pixels: it leaves 8 % of the heat map's
                mass outside at either end of each dimension, after 14 votes spread evenly over the image were added.
                That is the size of objects which fill about half of a photo; others it does not fit.

        Raises:
            InputError: Another rule.
        """
        if rule not in get_args(BoxRule):
            message = f'Expected the `rule` "mass" or "points", got {rule!r}.'
            raise InputError(message)
        if rule == "points":
            return torch.stack([box_of_points(self.points(image)) for image in range(self.shape[0])])
        votes = self._votes()
        # An empty trace has no box with any share.
        count = votes.flatten(1).sum(dim=1, dtype=torch.float64).clamp(min=1)
        return box_of_mass(heat_map(votes), even=EVEN_VOTES / (EVEN_VOTES + count))

    def heatmap(self, sigma: float | Sequence[float] | None = None) -> Tensor:
        """One vote at each pixel without outliers, blurred, with a maximum of 1; ``(N, H, W)``.

        Of volumes ``(N, D, H, W)``, of sequences ``(N, L)``.

        Args:
            sigma: Width of the Gaussian in pixels, one for all dimensions or one for each; if None, 20 pixels at 224
                of the shorter side, in proportion, and through slices or frames as much of their number.
        """
        return heat_map(self._votes(), sigma)

    def _votes(self) -> Tensor:
        """1 at each pixel without outliers, as many dimensions as the map."""
        score = self.layers["input"].score
        votes = torch.zeros(self.shape[0], *self.shape[2:], dtype=score.dtype, device=self.labels.device)
        for image in range(self.shape[0]):
            votes[image][tuple(self.points(image).T)] = 1
        return votes

    def overlaps(self, other: Trace) -> dict[str, Tensor]:
        """How much of the way two traces share: intersection over union of the selected neurons, layer by layer.

        Args:
            other: A trace of as many images through the same layers, such as of the same images after a change, for
                another class, or by a copy of the network with other weights.

        Returns:
            Shares ``(N,)`` float64 in [0, 1] by layer, the last first; NaN where neither trace has a neuron.

        Raises:
            InputError: The traces differ in their number of images, their layers, or the size of a layer's maps.
        """
        ways = [
            (trace.shape[0], {name: neurons.size for name, neurons in trace.layers.items()}) for trace in (self, other)
        ]
        if ways[0] != ways[1]:
            message = f"Expected two traces of as many images through the same layers, got {ways[0]} and {ways[1]}."
            raise InputError(message)
        return {name: _overlap(neurons, other.layers[name], self.shape[0]) for name, neurons in self.layers.items()}

    @property
    def reached(self) -> Tensor:
        """Which images' traces pass through their filter, ``(N,)`` bool; of a whole trace, all.

        An image whose trace does not has no neurons in any layer.
        """
        reached = torch.zeros(self.shape[0], dtype=torch.bool, device=self.labels.device)
        reached[self.layers["output"].image] = True
        return reached

    def shares(self, of: ShareOf = "neurons") -> dict[str, Tensor]:
        """How much of the whole trace goes through the filter, layer by layer.

        Args:
            of: ``"neurons"`` counts them; ``"score"`` adds up their Ω, as far as it is positive.

        Returns:
            Shares ``(N,)`` float64 in [0, 1] by layer, the last first; NaN where the whole trace has nothing.

        Raises:
            InputError: A trace that is not restricted to a filter, or another kind of share.
        """
        restriction = Restriction.required(self.restriction)
        if of not in get_args(ShareOf):
            message = f'Expected shares of "neurons" or of the "score", got {of!r}.'
            raise InputError(message)
        whole = restriction.counts if of == "neurons" else restriction.totals
        return {name: _sizes(neurons, self.shape[0], of) / whole[name] for name, neurons in self.layers.items()}

    def filter_places(self, image: int = 0) -> Tensor:
        """Where in its map the trace passes through the filter: row and column, ``(P, 2)``, the largest Ω first.

        Of a layer that ran several times, those of the last run that the trace passes; of volumes the rows of all
        slices, one slice below the other.

        Raises:
            InputError: A trace that is not restricted to a filter.
        """
        item = Restriction.required(self.restriction).filters[image]
        for name in runs_of(item.layer, self.layers):
            found = self.layers[name].of_image(image)
            # A head has several channels, and nothing else of its layer is on its chains.
            own = torch.ones_like(found.channel, dtype=torch.bool) if "[" in item.part else found.channel == item.index
            rows = own.nonzero()[:, 0]
            if len(rows):
                order = rows[found.score[rows].argsort(descending=True, stable=True)]
                seen = dict.fromkeys(zip(found.y[order].tolist(), found.x[order].tolist(), strict=True))
                return torch.tensor(list(seen))
        return torch.zeros(0, 2, dtype=torch.long)

    def restricted(self, filters: Sequence[Filter], kept: Mapping[str, Tensor]) -> Trace:
        """The part of a whole trace that goes through filters.

        Args:
            filters: The filter of each image.
            kept: Which neurons of each layer are on chains through them, ``(M,)`` bool, by the layer's name.
        """
        images = self.shape[0]
        counts = {name: _sizes(neurons, images, "neurons").long() for name, neurons in self.layers.items()}
        totals = {name: _sizes(neurons, images, "score") for name, neurons in self.layers.items()}
        layers = {name: neurons.where(kept[name]) for name, neurons in self.layers.items()}
        return replace(self, layers=layers, restriction=Restriction(tuple(filters), counts, totals))

    def to_table(self) -> list[dict[str, Any]]:
        """One row per selected neuron: image, layer, channel, y, x, score and the three supports.

        Of a restricted trace also the filter, ``through``.
        """
        filters = () if self.restriction is None else self.restriction.filters
        return [
            {"image": image, "layer": name, **dict(zip(_FIELDS[1:], values, strict=True))}
            | ({"through": str(filters[image])} if filters else {})
            for name, found in self.layers.items()
            for image, *values in zip(*(getattr(found, field).tolist() for field in _FIELDS), strict=True)
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            TraceFileError: The file cannot be written.
        """
        tensors = {
            f"{name}/{field}": getattr(neurons, field) for name, neurons in self.layers.items() for field in _FIELDS
        }
        tensors["labels"] = self.labels
        content: dict[str, Any] = {"shape": list(self.shape)}
        content["sizes"] = {name: list(neurons.size) for name, neurons in self.layers.items()}
        if self.restriction is not None:
            content["through"], sizes = self.restriction.described()
            tensors |= sizes
        TRACE.save(path, tensors, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read a trace file, whole or not at all.

        Raises:
            TraceFileError: No such file, damaged, truncated, or not a trace of a version that is known.
        """
        return TRACE.load(path, cls._of)

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], content: dict[str, Any]) -> Trace:
        layers = {
            name: Neurons(**{field: tensors[f"{name}/{field}"] for field in _FIELDS}, size=(channels, height, width))
            for name, (channels, height, width) in content["sizes"].items()
        }
        # Version 1 called them targets.
        labels = tensors["labels" if "labels" in tensors else "targets"]
        through = content.get("through")
        restriction = None if through is None else Restriction.of(through, layers, tensors)
        return cls(layers, labels, tuple(content["shape"]), restriction)

    @classmethod
    def joined(cls, parts: Sequence[Trace]) -> Trace:
        """Traces of the parts of a batch by the same network, as the trace of the whole batch."""
        if len(parts) == 1:
            return parts[0]
        starts = [sum(part.shape[0] for part in parts[:place]) for place in range(len(parts))]
        layers = {}
        for name, first in parts[0].layers.items():
            found = [part.layers[name] for part in parts]
            joined: dict[str, Any] = {field: torch.cat([getattr(one, field) for one in found]) for field in _FIELDS}
            joined["image"] = torch.cat([one.image + start for one, start in zip(found, starts, strict=True)])
            layers[name] = replace(first, **joined)
        labels = torch.cat([part.labels for part in parts])
        restrictions = [part.restriction for part in parts if part.restriction is not None]
        restriction = Restriction.joined(restrictions) if restrictions else None
        return cls(layers, labels, (len(labels), *parts[0].shape[1:]), restriction)


def _overlap(first: Neurons, second: Neurons, images: int) -> Tensor:
    """Intersection over union of one layer's neurons, ``(N,)``."""
    keys, counts = torch.unique(torch.cat([first.keys(), second.keys()]), return_counts=True)
    image = keys // prod(first.size)
    union = torch.bincount(image, minlength=images).double()
    # A trace has each neuron once, so one that is there twice is in both.
    return torch.bincount(image[counts > 1], minlength=images) / union


def _sizes(neurons: Neurons, images: int, of: ShareOf) -> Tensor:
    """How many neurons of a layer each image has, or what their Ω adds up to, ``(N,)`` float64."""
    each = torch.ones_like(neurons.score) if of == "neurons" else neurons.score.clamp(min=0)
    return torch.zeros(images, dtype=torch.float64, device=each.device).index_add(0, neurons.image, each.double())
