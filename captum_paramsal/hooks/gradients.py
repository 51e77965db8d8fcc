"""Weight gradients of every example of a batch, in forms that need not be written out.

Only the mean absolute value of each filter is wanted; it can be differentiated where the form is part of a graph. Each
form knows the cheapest way there; all of them can give the gradient of one example at a time, which is what sums over
several calls of a layer are built on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from captum_paramsal.functional.convolution import (
    ConvolutionGeometry,
    convolution_mean_abs,
    convolution_weight_gradient,
    transposed_filters,
)
from captum_paramsal.functional.products import BLOCK_NUMBERS, mean_abs_product
from captum_paramsal.functional.profile import mean_abs, mean_abs_
from captum_paramsal.functional.second_order import (
    differentiable_convolution_mean_abs,
    differentiable_product_mean_abs,
)

COLUMN_POSITIONS = 1024
"""Up to this many positions, a convolution's input is cut into columns on a CPU."""

COLUMN_NUMBERS = 1 << 21
"""Size of the columns that are cut at once: 8 MiB in float32."""


class SampleGradients(ABC):
    """Weight gradients of N examples for the F filters of a layer, M weights each."""

    @abstractmethod
    def __len__(self) -> int:
        """Examples in the batch."""

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(F, M)``, to be read and, but by :class:`DenseGradients`, given away."""

    def magnitude(self, sample: Tensor) -> Tensor:
        """Mean absolute value of each filter of one example, ``(F,)``, from what :meth:`sample` gave."""
        return sample.abs().mean(dim=1)

    def mean_abs(self) -> Tensor:
        """Saliency profile of the layer, ``(N, F)``; one example's gradient is in memory at a time."""
        return torch.stack([mean_abs_(self.sample(n)) for n in range(len(self))])

    def __add__(self, other: SampleGradients) -> SampleGradients:
        """Gradients of a layer that was called twice: its weight is one, so they add up before the absolute value."""
        return SummedGradients((self, other))


@dataclass(frozen=True)
class DenseGradients(SampleGradients):
    """Gradients written out.

    Attributes:
        values: ``(N, F, ...)``.
    """

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(F, M)``."""
        return self.values[n].reshape(self.values.shape[1], -1)

    def mean_abs(self) -> Tensor:
        """Saliency profile of the layer, ``(N, F)``."""
        return mean_abs(self.values.reshape(*self.values.shape[:2], -1))


@dataclass(frozen=True)
class SummedGradients(SampleGradients):
    """Sum over several calls of one layer.

    Attributes:
        parts: One for each call.
    """

    parts: Sequence[SampleGradients]

    def __len__(self) -> int:
        return len(self.parts[0])

    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(F, M)``."""
        first, *others = (part.sample(n) for part in self.parts)
        return sum(others, start=first)

    def __add__(self, other: SampleGradients) -> SampleGradients:
        return SummedGradients((*self.parts, other))


@dataclass(frozen=True)
class ProductGradients(SampleGradients):
    """Gradients of a linear map: ``outputs[n] @ columns[n].T``, summed over P positions.

    Attributes:
        outputs: Gradient with respect to the map's output, ``(N, F, P)``.
        columns: The map's input, ``(N, M, P)``.
    """

    outputs: Tensor
    columns: Tensor

    def __len__(self) -> int:
        return len(self.outputs)

    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(F, M)``."""
        return self.outputs[n] @ self.columns[n].T

    def mean_abs(self) -> Tensor:
        """Saliency profile of the layer, ``(N, F)``."""
        if _in_graph(self.outputs, self.columns):
            return differentiable_product_mean_abs(self.outputs, self.columns)
        return mean_abs_product(self.outputs, self.columns)

    def __add__(self, other: SampleGradients) -> SampleGradients:
        if not isinstance(other, ProductGradients):
            return super().__add__(other)
        return ProductGradients(
            torch.cat([self.outputs, other.outputs], dim=2), torch.cat([self.columns, other.columns], dim=2)
        )


@dataclass(frozen=True)
class HeadGradients(SampleGradients):
    """Gradients of several linear maps whose output rows are taken together, head by head.

    Attributes:
        maps: One for each of query, key and value, ``(N, E, M)``.
        heads: Heads that each map's E rows are cut into.
    """

    maps: tuple[SampleGradients, ...]
    heads: int

    def __len__(self) -> int:
        return len(self.maps[0])

    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(F, M)``, where all maps have inputs of the same width."""
        return torch.cat([part.sample(n).reshape(self.heads, -1) for part in self.maps])

    def mean_abs(self) -> Tensor:
        """Saliency profile of the layer, ``(N, F)``."""
        rows = torch.stack([part.mean_abs() for part in self.maps], dim=1)
        return rows.reshape(len(self), 3 * self.heads, -1).mean(dim=2)

    def __add__(self, other: SampleGradients) -> SampleGradients:
        if not isinstance(other, HeadGradients):
            return super().__add__(other)
        return HeadGradients(tuple(a + b for a, b in zip(self.maps, other.maps, strict=True)), self.heads)


@dataclass(frozen=True)
class RowGroups(SampleGradients):
    """Gradients of filters that are several rows of a weight each, such as the heads of a projection.

    Attributes:
        rows: Gradients row by row.
        groups: Rows of each filter.
    """

    rows: SampleGradients
    groups: tuple[slice, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows in each filter."""
        return tuple(group.stop - group.start for group in self.groups)

    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(F, M)``; a filter of fewer rows than the largest ends in zeros."""
        rows, largest = self.rows.sample(n), max(self.sizes)
        parts = [rows[group].reshape(-1) for group in self.groups]
        widths = [largest * rows.shape[1] - len(part) for part in parts]
        return torch.stack([functional.pad(part, (0, width)) for part, width in zip(parts, widths, strict=True)])

    def magnitude(self, sample: Tensor) -> Tensor:
        """Mean absolute value of each filter of one example, ``(F,)``."""
        sizes = torch.tensor(self.sizes, dtype=sample.dtype, device=sample.device)
        return super().magnitude(sample) * (max(self.sizes) / sizes)

    def mean_abs(self) -> Tensor:
        """Saliency profile of the layer, ``(N, F)``."""
        rows = self.rows.mean_abs()
        return torch.stack([rows[:, group].mean(dim=1) for group in self.groups], dim=1)

    def __add__(self, other: SampleGradients) -> SampleGradients:
        if not isinstance(other, RowGroups):
            return super().__add__(other)
        return RowGroups(self.rows + other.rows, self.groups)


@dataclass(frozen=True)
class BiasedGradients(SampleGradients):
    """Gradients of filters that have their entry of the bias beside their weights.

    Attributes:
        weights: Gradients of the weights.
        biases: Gradients of the bias, ``(N, F)``.
        width: Weights of a filter, M, without the bias.
    """

    weights: SampleGradients
    biases: Tensor
    width: int

    def __len__(self) -> int:
        return len(self.weights)

    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(F, M + 1)``."""
        return torch.cat([self.weights.sample(n), self.biases[n, :, None]], dim=1)

    def mean_abs(self) -> Tensor:
        """Saliency profile of the layer, ``(N, F)``."""
        return (self.weights.mean_abs() * self.width + mean_abs(self.biases[..., None])) / (self.width + 1)

    def __add__(self, other: SampleGradients) -> SampleGradients:
        if not isinstance(other, BiasedGradients):
            return super().__add__(other)
        return BiasedGradients(self.weights + other.weights, self.biases + other.biases, self.width)


@dataclass(frozen=True)
class FoldedGradients(SampleGradients):
    """Gradients of examples that a layer saw in several parts each, such as windows or frames.

    Attributes:
        parts: Gradients part by part, those of an example one after the other.
        count: Examples, N.
    """

    parts: SampleGradients
    count: int

    def __len__(self) -> int:
        return self.count

    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(F, M)``."""
        each = len(self.parts) // self.count
        first, *others = (self.parts.sample(part) for part in range(n * each, (n + 1) * each))
        return sum(others, start=first)


@dataclass(frozen=True)
class ConvolutionGradients(SampleGradients):
    """Gradients of a convolution.

    Attributes:
        inputs: ``(N, C, *size)``, padded where the padding is not zeros on both sides.
        output_gradients: ``(N, O, *output size)``.
        geometry: How the convolution moves.
    """

    inputs: Tensor
    output_gradients: Tensor
    geometry: ConvolutionGeometry

    def __len__(self) -> int:
        return len(self.inputs)

    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(O, M)``."""
        row = slice(n, n + 1)
        return convolution_weight_gradient(self.inputs[row], self.output_gradients[row], self.geometry).flatten(1)

    def mean_abs(self) -> Tensor:
        """Saliency profile of the layer, ``(N, O)``.

        As products of matrices that are never written out. Where the columns of one example are large, the convolution
        library's own weight gradient is faster, and in groups faster than many small products.
        """
        if _in_graph(self.inputs, self.output_gradients):
            return differentiable_convolution_mean_abs(self.inputs, self.output_gradients, self.geometry)
        positions, taps = prod(self.output_gradients.shape[2:]), prod(self.geometry.kernel)
        columns_of_one = self.inputs.shape[1] * taps * positions
        if self.inputs.device.type != "cpu":
            return self._by_products(max(1, BLOCK_NUMBERS // columns_of_one))
        few = positions <= COLUMN_POSITIONS and columns_of_one <= 2 * COLUMN_NUMBERS
        if positions > 1 and (self.geometry.groups > 1 or not (taps == 1 or few)):
            return super().mean_abs()
        return self._by_products(max(1, COLUMN_NUMBERS // columns_of_one))

    def _by_products(self, size: int) -> Tensor:
        """From the columns of so many examples at once."""
        pairs = zip(self.inputs.split(size), self.output_gradients.split(size), strict=True)
        return torch.cat([convolution_mean_abs(*pair, self.geometry) for pair in pairs])


@dataclass(frozen=True)
class TransposedConvolutionGradients(SampleGradients):
    """Gradients of a transposed convolution, whose weight is ``(C, O / groups, *kernel)``.

    Attributes:
        forward: The convolution it transposes: from its output gradients to its inputs.
    """

    forward: ConvolutionGradients

    def __len__(self) -> int:
        return len(self.forward)

    def sample(self, n: int) -> Tensor:
        """Gradient of example n, ``(O, M)``: the weight's second dimension holds the output channels."""
        geometry = self.forward.geometry
        gradient = self.forward.sample(n).view(1, *geometry.weight_shape)
        return transposed_filters(gradient, geometry.groups)[0]


def _in_graph(*tensors: Tensor) -> bool:
    """Whether the profile is to be differentiated itself."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
