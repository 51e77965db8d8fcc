"""Tokens laid out as PyTorch's attention multiplies them.

With the examples first, `nn.MultiheadAttention` transposes its tokens and then maps them by weights. Where the weights
need no gradient, PyTorch makes a product of each token of that, which takes several times as long as one product of all
in both passes (seen in 2.14). Tokens that lie in memory one after the other, with the examples inside, are in one piece
once they are transposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from captum_paramsal.hooks.calls import once_each

_TOKENS = ("query", "key", "value")
_BATCHED = 3
"""Dimensions of tokens with examples."""


@contextmanager
def tokens_in_one_piece(model: nn.Module) -> Iterator[None]:
    """Lay out the tokens that every `nn.MultiheadAttention` of a model is given, while this context lasts."""
    with ExitStack() as handles:
        for module in model.modules():
            if isinstance(module, nn.MultiheadAttention) and module.batch_first:
                handles.callback(module.register_forward_pre_hook(_laid_out, with_kwargs=True).remove)
        yield


def _laid_out(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    # Queries, keys and values that are one tensor stay one: only then are they projected together.
    copied = once_each(_tokens_first)

    def laid_out(value: Any) -> Any:
        return copied(value) if isinstance(value, Tensor) and value.ndim == _BATCHED else value

    places = len(_TOKENS)
    named = {name: laid_out(value) if name in _TOKENS else value for name, value in kwargs.items()}
    return (*map(laid_out, args[:places]), *args[places:]), named


def _tokens_first(tokens: Tensor) -> Tensor:
    """A copy in which the tokens lie one after the other, with the examples inside."""
    return tokens.transpose(0, 1).contiguous().transpose(0, 1)
