"""Products of two computed tensors: attention, and mixing of tokens by weights that the network computes.

With its shares held as they were, attention is linear in its values: ``out[i, d] = Σ_j A[i, j] V[j, d]``. So the
candidates of a selected token's feature are the same feature of every token, and each contributes ``A[i, j] V[j, d]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from captum_paramsal.errors import TraceError
from captum_paramsal.functional.attention import attention_shares
from captum_paramsal.graph.operations import OPERATIONS, Kind, name_of
from captum_paramsal.graph.registry import trace_rule
from captum_paramsal.graph.rule import Found, TraceRule
from captum_paramsal.graph.rules.joining import is_gate
from captum_paramsal.graph.selecting import Candidates, select
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step


@dataclass(frozen=True)
class _Product:
    """A product of two operands, of which one is traced and the other one held.

    Attributes:
        source: What is traced.
        traced: Its values.
        held: Those of the other one.
        subscripts: Of both and of the result, as ``torch.einsum`` has them, without an ellipsis.
    """

    source: fx.Node
    traced: Tensor
    held: Tensor
    subscripts: tuple[str, str, str]

    def candidates(self, sites: Sites, shape: torch.Size, keep: int) -> Candidates:
        """The candidates of some neurons of the result: those whose share is not nothing, as it is behind a mask."""
        values, shares, first, offsets = self._factors(sites, shape)
        sizes = shares.abs()
        # A mask that adds a large negative number leaves shares that are not quite zero.
        seen = sizes > torch.finfo(shares.dtype).eps * sizes.amax(dim=1, keepdim=True)
        return Candidates(values * shares * sites.gain[:, None], first, offsets, keep, seen=seen)

    def largest(self, sites: Sites, shape: torch.Size) -> Tensor:
        """The largest contribution to some neurons of the result, ``(M,)``."""
        values, shares, _, _ = self._factors(sites, shape)
        return (values * shares * sites.gain[:, None]).amax(dim=1)

    def _factors(self, sites: Sites, shape: torch.Size) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Values and shares ``(M, C)``, index of the first candidate ``(M,)``, and the offsets of all ``(C,)``."""
        traced, held, result = self.subscripts
        sizes = dict(zip(traced + held, (*self.traced.shape, *self.held.shape), strict=True))
        # Of a dimension of one that is broadcast, the larger size counts.
        sizes |= {
            letter: max(tensor.shape[letters.index(letter)] for tensor, letters in self._both if letter in letters)
            for letter in sizes
        }
        place = dict(zip(result, torch.unravel_index(sites.index, shape), strict=True))
        summed = [letter for letter in dict.fromkeys(traced + held) if letter not in result]
        grid = torch.arange(prod(sizes[letter] for letter in summed), device=sites.index.device)
        inner = dict(zip(summed, torch.unravel_index(grid, tuple(sizes[letter] for letter in summed)), strict=True))
        first, offsets = _flat(self.traced, traced, place, inner)
        start, others = _flat(self.held, held, place, inner)
        values = self.traced.reshape(-1)[first[:, None] + offsets]
        return values, self.held.reshape(-1)[start[:, None] + others], first, offsets

    @property
    def _both(self) -> Sequence[tuple[Tensor, str]]:
        return (self.traced, self.subscripts[0]), (self.held, self.subscripts[1])


def _flat(tensor: Tensor, letters: str, place: dict[str, Tensor], inner: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Index in a flattened operand: of each neuron's first candidate, and from there to each candidate."""
    some = next(iter(place.values()))
    first = torch.zeros_like(some)
    offsets = torch.zeros(len(next(iter(inner.values()))) if inner else 1, dtype=torch.long, device=some.device)
    stride = 1
    for letter, size in zip(reversed(letters), reversed(tensor.shape), strict=True):
        if size > 1 and letter in place:
            first = first + place[letter] * stride
        elif size > 1:
            offsets = offsets + inner[letter] * stride
        stride *= size
    return first, offsets


class _Mixing(TraceRule):
    """Values that are added up in shares."""

    channel_dimension = -1

    def back(self, step: Step, sites: Sites) -> Found:
        """The candidates with the largest positive Ω."""
        product, sites = self.product(step), self.scaled(step, sites)
        candidates = product.candidates(sites, step.shape, step.settings.top_k)
        return [(product.source, select(step, product.source, sites, candidates))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest contribution of a candidate."""
        product, sites = self.product(step), self.scaled(step, sites)
        return product.largest(sites, step.shape)

    def product(self, step: Step) -> _Product:
        """The product behind it."""
        raise NotImplementedError

    def scaled(self, step: Step, sites: Sites) -> Sites:
        """The neurons, with a factor of the whole product in their gain."""
        del step
        return sites


@trace_rule(*OPERATIONS[Kind.ATTENTION].calls)
class Attention(_Mixing):
    """Fused attention: the same feature of every token is a candidate, with the share that the token has."""

    def product(self, step: Step) -> _Product:
        """Shares times values."""
        query, key, value = (step.argument(place, name) for place, name in enumerate(("query", "key", "value")))
        shares = attention_shares(
            step.value(query),
            step.value(key),
            mask=step.value(step.argument(3, "attn_mask")),
            causal=step.argument(5, "is_causal", default=False),
            scale=step.argument(6, "scale"),
        )
        values = step.value(value)
        if step.argument(7, "enable_gqa", default=False):
            message = f"Expected attention with as many heads of keys as of queries, got grouped ones in '{step.node}'."
            raise TraceError(message)
        heads = "abcdefgh"[: shares.ndim - 2]
        return _Product(
            value, values, shares, (f"{heads[len(heads) + 2 - values.ndim :]}jd", f"{heads}ij", f"{heads}id")
        )


@trace_rule(*OPERATIONS[Kind.CONTRACTION].calls)
class Contraction(_Mixing):
    """``matmul``, ``einsum`` and their kind.

    Where one operand is a parameter this is a layer. Of two computed ones, that which was made to be shares or gates is
    held; without such a one the first is, as queries are where they multiply what keys and values made together.
    """

    def is_layer(self, step: Step) -> bool:
        """Whether one operand is a parameter."""
        return sum(step.is_computed(node) for node in _operands(step)) == 1

    def product(self, step: Step) -> _Product:
        """The operands."""
        one, other = _operands(step)
        subscripts = _subscripts(step, one, other)
        if step.is_computed(other) and not (step.is_computed(one) and is_gate(step, other) and not is_gate(step, one)):
            one, other = other, one
            subscripts = (subscripts[1], subscripts[0], subscripts[2])
        return _Product(one, step.run.tensor(one), step.run.tensor(other), subscripts)

    def back(self, step: Step, sites: Sites) -> Found:
        """The candidates of the product; of what is added to it, the neuron itself, where its share is larger."""
        if not _is_added_to(step):
            return super().back(step, sites)
        message = f"Expected a product alone, got {name_of(step.node.target)} of computed tensors ('{step.node}')."
        added: Any = step.node.args[0]
        if step.is_computed(added):
            raise TraceError(message)
        return super().back(step, sites)

    def scaled(self, step: Step, sites: Sites) -> Sites:
        """With ``alpha`` of ``baddbmm`` and its kind."""
        alpha = step.value(step.node.kwargs.get("alpha", 1))
        return sites if alpha == 1 else sites.at(sites.index, sites.gain * alpha)


def _is_added_to(step: Step) -> bool:
    return "add" in name_of(step.node.target)


def _operands(step: Step) -> tuple[Any, Any]:
    args: Any = step.node.args
    if "einsum" in name_of(step.node.target):
        operands = args[1] if isinstance(args[1], (tuple, list)) else args[1:]
        if len(operands) != 2:
            message = f"Expected `einsum` of two tensors, got {len(operands)} in '{step.node}'."
            raise TraceError(message)
        return operands[0], operands[1]
    if _is_added_to(step):
        return args[1], args[2]
    return args[0], step.argument(1, "other", step.node.kwargs.get("mat2"))


def _subscripts(step: Step, one: fx.Node, other: fx.Node) -> tuple[str, str, str]:
    """Letters of both operands and of the result."""
    shapes = (step.shape_of(one), step.shape_of(other))
    if "einsum" not in name_of(step.node.target):
        return _of_matmul(*map(len, shapes))
    equation = str(step.node.args[0]).replace(" ", "")
    given, arrow, result = equation.partition("->")
    letters = given.split(",")
    # Dimensions behind an ellipsis get letters that no equation has.
    extra = max(len(shape) - len(part.replace("...", "")) for shape, part in zip(shapes, letters, strict=True))
    spare = [letter for letter in "ÀÁÂÃÄÅÆÇÈÉ" if letter not in equation][:extra]
    if not arrow:
        plain = given.replace(",", "").replace("...", "")
        result = ("..." if "..." in given else "") + "".join(sorted(c for c in set(plain) if plain.count(c) == 1))
    widened = [
        part.replace(
            "...", "".join(spare[extra - (len(shape) - len(part.replace("...", ""))) :]) if "..." in part else ""
        )
        for shape, part in zip(shapes, letters, strict=True)
    ]
    return widened[0], widened[1], result.replace("...", "".join(spare))


def _of_matmul(one: int, other: int) -> tuple[str, str, str]:
    outer = "abcdefgh"[: max(one, other) - 2] if max(one, other) > 2 else ""
    left = "k" if one == 1 else outer[len(outer) + 2 - one :] + "ik"
    right = "k" if other == 1 else outer[len(outer) + 2 - other :] + "kj"
    return left, right, outer + ("i" if one > 1 else "") + ("j" if other > 1 else "")
