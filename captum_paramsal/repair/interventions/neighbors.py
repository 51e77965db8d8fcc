"""Mistakes that the same filters made: nearest neighbours among saliency profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.files.kinds import NEIGHBORS
from captum_paramsal.files.tensor_file import TensorFile
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import cosines, nearest
from captum_paramsal.repair.interventions.checks import columns_of
from captum_paramsal.repair.interventions.saved_tensors import SavedTensors


@dataclass(frozen=True, eq=False, repr=False)
class Neighbors(SavedTensors):
    """The images nearest to each of Q others.

    Attributes:
        images: Their places among the profiles, nearest first, ``(Q, k)`` int64.
        similarity: Cosine of the angle between the profiles, ``(Q, k)``.
    """

    _kind: ClassVar[TensorFile] = NEIGHBORS

    images: Tensor
    similarity: Tensor

    def to_table(self) -> list[dict[str, Any]]:
        """One row for each neighbour: number of the query, rank from 1 up, place among the profiles, similarity."""
        return [
            {"query": query, "rank": rank, "image": image, "similarity": alike}
            for query, (images, similarity) in enumerate(
                zip(self.images.tolist(), self.similarity.tolist(), strict=True)
            )
            for rank, (image, alike) in enumerate(zip(images, similarity, strict=True), 1)
        ]


def neighbors(
    profiles: Tensor,
    query: int | Sequence[int] | Tensor,
    k: int = 10,
    *,
    filters: FilterIndex | None = None,
    layers: str | Sequence[str] | None = None,
) -> Neighbors:
    """Images whose profiles point in the same direction.

    Args:
        profiles: Scores of every filter for N images, ``(N, F)``, as ``attribute`` returns them with a reference.
        query: Places among the profiles, which are not their own neighbours; or further profiles, ``(Q, F)``.
        k: How many.
        filters: Which filter each score belongs to; needed for ``layers``.
        layers: Names or glob patterns of the layers that count, such as the first ones of the network alone; all by
            default.

    Raises:
        InputError: ``profiles`` have another shape, values that are not finite, or zeros alone in these layers.
        InterventionError: ``k`` is above the number of other images, or a pattern matches no layer.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, figures 5 and 12.

    >>> found = neighbors(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), 0, k=1)
    >>> found.images.tolist()
    [[1]]
    """
    columns = _columns(profiles, filters, layers)
    rows = _with_directions(profiles[:, columns], "profiles")
    places = None if isinstance(query, Tensor) and query.is_floating_point() else torch.as_tensor(query).reshape(-1)
    if places is None:
        others: Tensor = query  # type: ignore[assignment] # a tensor, as `places` tells
        if others.ndim != 2 or others.shape[1] != profiles.shape[1]:
            message = f"Expected `query` of shape (Q, {profiles.shape[1]}), got {tuple(others.shape)}."
            raise InputError(message)
        wanted = _with_directions(others[:, columns], "query")
    else:
        if bool(((places < 0) | (places >= len(profiles))).any()):
            message = f"Expected places from 0 to {len(profiles) - 1} in `query`, got {places.tolist()}."
            raise InputError(message)
        wanted = rows[places]
    most = len(profiles) - (places is not None)
    if not 1 <= k <= most:
        message = f"Expected `k` from 1 to {most}, the number of other images, got {k}."
        raise InterventionError(message)
    similarity = cosines(wanted, rows)
    if places is not None:
        similarity[torch.arange(len(places)), places] = -torch.inf
    return Neighbors(*nearest(similarity, k))


def _with_directions(profiles: Tensor, name: str) -> Tensor:
    rows = profiles.detach().double()
    if not bool(rows.isfinite().all()):
        place = int((~rows.isfinite()).any(dim=1).nonzero()[0])
        message = f"Expected finite `{name}`, got some that are not in row {place}."
        raise InputError(message)
    empty = (rows == 0).all(dim=1)
    if bool(empty.any()):
        message = f"Expected `{name}` with a direction, got zeros alone in row {int(empty.nonzero()[0])}."
        raise InputError(message)
    return rows


def _columns(profiles: Tensor, filters: FilterIndex | None, layers: str | Sequence[str] | None) -> Tensor:
    if profiles.ndim != 2 or (filters is not None and profiles.shape[1] != len(filters)):
        expected = "F" if filters is None else len(filters)
        message = f"Expected `profiles` of shape (N, {expected}), got {tuple(profiles.shape)}."
        raise InputError(message)
    if layers is None:
        return torch.arange(profiles.shape[1])
    if filters is None:
        message = "Expected `filters` to choose `layers` by, got None."
        raise InputError(message)
    return torch.tensor(columns_of(filters, [layers] if isinstance(layers, str) else list(layers)))
