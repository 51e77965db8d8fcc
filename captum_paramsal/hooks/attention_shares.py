"""The shares of an attention layer, as a part of the graph that class scores can be differentiated through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from captum_paramsal.errors import LayerError
from captum_paramsal.functional.attention import attention_shares
from captum_paramsal.hooks.attention_heads import attention_heads
from captum_paramsal.hooks.feature_maps import FeatureMaps, layer_named
from captum_paramsal.hooks.functions import OPENED
from captum_paramsal.hooks.opened import opened
from captum_paramsal.hooks.scored_model import unwrap


@contextmanager
def watched_shares(model: nn.Module, layer: str | nn.Module) -> Iterator[FeatureMaps]:
    """Watch in which shares an attention layer mixes tokens; nothing is left of it when the context ends.

    While it lasts, fused attention is made of its parts, since it hands out no shares.

    Args:
        model: The model, called as a whole.
        layer: Name of the attention layer, or the module: the innermost one around its softmax.

    Raises:
        LayerError: The model has no such layer; in a forward pass, a layer that has no attention, or several.

    >>> import torch
    >>> attention = nn.MultiheadAttention(4, 2, batch_first=True)
    >>> class Mixed(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.attention = attention
    ...     def forward(self, tokens):  # (N, T, 4)
    ...         return self.attention(tokens, tokens, tokens)[0].mean(1)
    >>> with watched_shares(model := Mixed(), "attention") as shares:
    ...     scores = model(torch.ones(3, 5, 4))
    >>> shares.latest.shape
    torch.Size([3, 2, 5, 5])
    """
    model = unwrap(model)
    name, module = layer_named(model, layer)
    shares = FeatureMaps(name, "attention")
    mode = _SharesWatch(shares)

    def enter(_: nn.Module, args: tuple[Any, ...]) -> None:
        mode.examples = next((len(given) for given in args if isinstance(given, Tensor) and given.ndim), 1)
        mode.__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: Any) -> None:
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    handles = (
        model.register_forward_pre_hook(shares.forget, prepend=True),
        module.register_forward_pre_hook(enter),
        module.register_forward_hook(leave, always_call=True),
    )
    try:
        yield shares
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def watched_attention(model: nn.Module, layers: Sequence[str]) -> Iterator[tuple[FeatureMaps, ...]]:
    """Watch several attention layers at once, as :func:`watched_shares` does one.

    Args:
        model: The model, called as a whole.
        layers: Their names.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(watched_shares(model, layer)) for layer in layers)


def attention_layers(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers in which tokens attend to each other, in the order in which the model holds them.

    Those of PyTorch, and those whose heads are known: see :func:`captum_paramsal.hooks.heads_of`.

    >>> attention_layers(nn.TransformerEncoderLayer(8, 2))
    ('self_attn',)
    """
    named = [
        name
        for name, module in unwrap(model).named_modules()
        if name and (isinstance(module, nn.MultiheadAttention) or attention_heads(module))
    ]
    return tuple(name for name in named if not any(other.startswith(f"{name}.") for other in named))


class _SharesWatch(TorchFunctionMode):
    """Notes what a softmax returns, and attends in the open."""

    def __init__(self, shares: FeatureMaps) -> None:
        super().__init__()
        self._shares = shares
        self.examples = 1

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func in OPENED:
            with self:
                return opened(func)(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return self._attended(*args, **kwargs)
        result = func(*args, **kwargs)
        return self._shares.keep(self._by_head(result)).view_as(result) if func.__name__ == "softmax" else result

    def _attended(  # noqa: PLR0917 -- PyTorch's signature
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,  # noqa: FBT001, FBT002
        scale: float | None = None,
        enable_gqa: bool = False,  # noqa: FBT001, FBT002
    ) -> Tensor:
        if enable_gqa:
            key, value = (tensor.repeat_interleave(query.shape[-3] // tensor.shape[-3], -3) for tensor in (key, value))
        shares = attention_shares(query, key, mask=attn_mask, causal=is_causal, scale=scale)
        return functional.dropout(self._shares.keep(shares), dropout_p) @ value

    def _by_head(self, shares: Tensor) -> Tensor:
        """Shares ``(N, heads, T, S)``, where heads are folded with the examples."""
        if shares.ndim == 3 and len(shares) % self.examples == 0:
            by_head: Tensor = shares.unflatten(0, (self.examples, -1))
            return by_head
        if shares.ndim != 4:
            message = (
                f"Expected layer {self._shares.name!r} to mix tokens in shares (N, heads, T, S), got a softmax of "
                f"shape {tuple(shares.shape)}. Name the attention layer itself."
            )
            raise LayerError(message)
        return shares
