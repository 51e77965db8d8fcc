"""Concatenations: the sizes of the parts tell where each value came from."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, fx

from captum_paramsal.graph.registry import trace_rule
from captum_paramsal.graph.rules.rearranging import Rearranged
from captum_paramsal.graph.step import Step


@trace_rule(torch.cat, torch.concat, torch.concatenate)
class Concatenation(Rearranged):
    """A neuron's value is that of one neuron of one part."""

    def came_from(self, step: Step, moved: list[fx.Node], index: Tensor) -> tuple[Tensor, Tensor]:
        """By the place along the dimension in which the parts follow one another."""
        parts = step.argument(0, "tensors")
        if not isinstance(parts, (list, tuple)) or not all(isinstance(part, fx.Node) for part in parts):
            return super().came_from(step, moved, index)
        shape, dimension = step.shape, step.value(step.argument(1, "dim", step.node.kwargs.get("axis", 0)))
        # Of a vector without entries PyTorch does not ask for the other dimensions.
        sizes = [part[dimension] if part.numel() or len(part) > 1 else 0 for part in map(step.shape_of, parts)]
        inputs = [moved.index(part) if part in moved else -1 for part in parts]
        size, end, source = (torch.tensor(of_part, device=index.device) for of_part in (sizes, sizes, inputs))
        end = end.cumsum(0)
        whole, inner = shape[dimension], prod(shape[dimension % len(shape) + 1 :])
        place = index // inner % whole
        part = torch.bucketize(place, end, right=True)
        before = index // (inner * whole) * size[part]
        return source[part], (before + place - (end - size)[part]) * inner + index % inner
