"""One small network of tokens, its attention written in several ways, and the same network for the slow twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf

import numpy as np
import torch
from oracles.transformer_trace import Tape
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS, PATCH, SIDE = 8, 2, 2, 8
ROWS = SIDE // PATCH
CLASSES = 4


@dataclass(frozen=True)
class Recipe:
    """What one network has; ``scale`` None is one over the root of a head's width.

    ``hidden`` is what a mask adds where tokens more than three apart do not see each other.
    """

    seed: int = 0
    depth: int = 2
    class_token: bool = True
    scale: float | None = None
    masked: bool = False
    hidden: float | None = None
    activation: str = "gelu"
    root_mean_square: bool = False
    windows: bool = False

    @property
    def tokens(self) -> int:
        return ROWS * ROWS + self.class_token


def mask_of(recipe: Recipe) -> Tensor | None:
    """Added to the products of queries and keys, another one in each head."""
    generator = torch.Generator().manual_seed(1000 + recipe.seed)
    shape = (HEADS, recipe.tokens, recipe.tokens)
    if recipe.hidden is not None:
        numbers = torch.arange(recipe.tokens)
        near = (numbers[:, None] - numbers).abs() <= 3
        return torch.where(near, 0.0, recipe.hidden).double().expand(shape).clone()
    return torch.randn(shape, generator=generator, dtype=torch.float64) if recipe.masked else None


class Attention(nn.Module):
    """Queries, keys and values of three linear layers, shared out by ``scaled_dot_product_attention``."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.scale = (WIDTH // HEADS) ** -0.5 if recipe.scale is None else recipe.scale
        self.register_buffer("mask", mask_of(recipe))
        for name in ("q", "k", "v", "out"):
            self.add_module(name, nn.Linear(WIDTH, WIDTH))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(N, heads, T, D)`` each."""
        return tuple(p(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for p in (self.q, self.k, self.v))  # type: ignore[return-value]

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, scale=self.recipe.scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.mixed(*self.split(x)).transpose(1, 2).flatten(2))

    def values(self, name: str) -> tuple[str, int]:
        """The layer that makes the values, and where they start in it."""
        return f"{name}.v", 0


class Fused(Attention):
    """One linear layer makes all three."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def adopt(self) -> None:
        with torch.no_grad():
            self.qkv.weight.copy_(torch.cat([self.q.weight, self.k.weight, self.v.weight]))
            self.qkv.bias.copy_(torch.cat([self.q.bias, self.k.bias, self.v.bias]))
        del self.q, self.k, self.v

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)  # type: ignore[return-value]

    def values(self, name: str) -> tuple[str, int]:
        return f"{name}.qkv", 2 * WIDTH


class Chunked(Fused):
    """The same in parts of the last dimension."""

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.qkv(x).chunk(3, dim=-1)
        return tuple(p.reshape(*p.shape[:2], HEADS, -1).permute(0, 2, 1, 3) for p in parts)  # type: ignore[return-value]


class Matmul(Attention):
    def shares(self, q: Tensor, k: Tensor) -> Tensor:
        products = q @ k.transpose(-2, -1) * self.scale
        return (products if self.mask is None else products + self.mask).softmax(-1)

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.shares(q, k) @ v


class ScaledQueries(Fused):
    """As timm writes it without the fused kernel: queries are scaled first, dropout is in place."""

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        products = torch.matmul(q * self.scale, k.transpose(-2, -1))
        shares = functional.softmax(products if self.mask is None else products + self.mask, dim=-1)
        return torch.matmul(functional.dropout(shares, 0.5, self.training), v)


class Bmm(Matmul):
    """Images and heads are one dimension."""

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        images = q.shape[0]
        q, k, v = (part.reshape(-1, *part.shape[2:]) for part in (q, k, v))
        products = torch.bmm(q, k.transpose(1, 2)) * self.scale
        if self.mask is not None:
            products = products + self.mask.repeat(images, 1, 1)
        return torch.bmm(torch.softmax(products, -1), v).unflatten(0, (images, HEADS))


class Einsum(Matmul):
    def shares(self, q: Tensor, k: Tensor) -> Tensor:
        products = torch.einsum("bhid,bhjd->bhij", q, k) * self.scale
        return (products if self.mask is None else products + self.mask).softmax(-1)

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.einsum("bhij,bhjd->bhid", self.shares(q, k), v)


class EinsumOfTokens(Einsum):
    """Heads stay behind the tokens, and the values are the first operand."""

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return tuple(p(x).unflatten(-1, (HEADS, -1)) for p in (self.q, self.k, self.v))  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(x)
        shares = self.shares(q.transpose(1, 2), k.transpose(1, 2))
        return self.out(torch.einsum("bjhd,bhij->bihd", v, shares).flatten(2))


class Transposed(Matmul):
    """Features by tokens: the shares are the second operand, and transposed."""

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        shares = self.shares(q, k)
        return (v.transpose(-2, -1) @ shares.transpose(-2, -1)).transpose(-2, -1)


class OfTorch(Attention):
    """``nn.MultiheadAttention``, which has no ``scale``: queries are multiplied instead."""

    batch_first = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.inner = nn.MultiheadAttention(WIDTH, HEADS, batch_first=self.batch_first)

    def adopt(self) -> None:
        with torch.no_grad():
            factor = self.scale / (WIDTH // HEADS) ** -0.5
            self.inner.in_proj_weight.copy_(torch.cat([self.q.weight * factor, self.k.weight, self.v.weight]))
            self.inner.in_proj_bias.copy_(torch.cat([self.q.bias * factor, self.k.bias, self.v.bias]))
            self.inner.out_proj.weight.copy_(self.out.weight)
            self.inner.out_proj.bias.copy_(self.out.bias)
        del self.q, self.k, self.v, self.out

    def forward(self, x: Tensor) -> Tensor:
        images = len(x)
        x = x if self.batch_first else x.transpose(0, 1)
        mask = None if self.mask is None else self.mask.repeat(images, 1, 1)
        mixed = self.inner(x, x, x, attn_mask=mask, need_weights=self.recipe.seed % 2 == 0)[0]
        return mixed if self.batch_first else mixed.transpose(0, 1)

    def values(self, name: str) -> tuple[str, int]:
        return f"{name}.inner", 2 * WIDTH


class TokensFirst(OfTorch):
    batch_first = False


class Windows(Fused):
    """Windows of two by two patches, moved by one around the borders."""

    def forward(self, x: Tensor) -> Tensor:
        images, half = len(x), ROWS // 2
        maps = torch.roll(x.unflatten(1, (ROWS, ROWS)), (-1, -1), (1, 2))
        windows = maps.view(images, half, 2, half, 2, WIDTH).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, WIDTH)
        mixed = super().forward(windows).view(images, half, half, 2, 2, WIDTH)
        maps = mixed.permute(0, 1, 3, 2, 4, 5).reshape(images, ROWS, ROWS, WIDTH)
        return torch.roll(maps, (1, 1), (1, 2)).flatten(1, 2)


WRITINGS: dict[str, type[Attention]] = {
    "three layers": Attention,
    "fused layer": Fused,
    "fused layer in chunks": Chunked,
    "softmax and matmul": Matmul,
    "scaled queries": ScaledQueries,
    "bmm": Bmm,
    "einsum": Einsum,
    "einsum of tokens": EinsumOfTokens,
    "transposed": Transposed,
    "MultiheadAttention": OfTorch,
    "MultiheadAttention, tokens first": TokensFirst,
}


class Block(nn.Module):
    def __init__(self, recipe: Recipe, writing: type[Attention]) -> None:
        super().__init__()
        norm = nn.RMSNorm if recipe.root_mean_square else nn.LayerNorm
        self.norm1, self.norm2 = norm(WIDTH, eps=1e-5), norm(WIDTH, eps=1e-5)
        self.attn = writing(recipe)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.act = {"gelu": nn.GELU(), "silu": nn.SiLU()}[recipe.activation]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


class TokenNetwork(nn.Module):
    def __init__(self, recipe: Recipe, writing: type[Attention]) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH)) if recipe.class_token else None
        self.position = nn.Parameter(torch.zeros(1, recipe.tokens, WIDTH))
        self.blocks = nn.Sequential(*(Block(recipe, writing) for _ in range(recipe.depth)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        x = self.norm(self.blocks(x + self.position))
        return self.head(x.mean(1) if self.class_token is None else x[:, 0])


def network(recipe: Recipe, writing: type[Attention] = Attention) -> TokenNetwork:
    """In float64 and evaluation mode, with the same weights in every writing."""
    generator = torch.Generator().manual_seed(recipe.seed)
    model = TokenNetwork(recipe, writing).double().eval().requires_grad_(False)
    for name, parameter in sorted(model.named_parameters()):
        if ".qkv." in name or ".inner." in name:
            continue
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.copy_(1 + 0.4 * values if "norm" in name and "weight" in name else 0.5 * values)
    for block in model.blocks:
        if isinstance(block.attn, Fused | OfTorch):
            block.attn.adopt()
    return model


def images(recipe: Recipe, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(100 + recipe.seed)
    return torch.randn(count, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2))),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def tape_of(recipe: Recipe, image: Tensor) -> Tape:
    """The network of :func:`network` for the slow twin; its layers have the names of the first writing."""
    model = network(recipe)
    weights = {name: parameter.numpy() for name, parameter in model.named_parameters()}
    mask = mask_of(recipe)
    tape = Tape(image.numpy())

    def linear(source: int, name: str) -> int:
        return tape.linear(source, weights[f"{name}.weight"], weights[f"{name}.bias"], name=name)

    def norm(source: int, name: str, *, centred: bool = True) -> int:
        gamma = weights[f"{name}.weight"]
        beta = weights.get(f"{name}.bias", np.zeros_like(gamma))
        return tape.norm(source, gamma, beta, 1e-5, centred=centred)

    x = tape.patches(weights["patch.weight"], weights["patch.bias"], name="patch")
    if recipe.class_token:
        x = tape.stack(tape.constant(weights["class_token"][0]), x)
    x = tape.shift(x, weights["position"][0])
    for number in range(recipe.depth):
        block = f"blocks.{number}"
        normed = norm(x, f"{block}.norm1", centred=not recipe.root_mean_square)
        q, k, v = (linear(normed, f"{block}.attn.{part}") for part in "qkv")
        added, windows = None if mask is None else mask.numpy(), windows_of(recipe)
        mixed = tape.attention(q, k, v, heads=HEADS, scale=recipe.scale, mask=added, windows=windows)
        x = tape.add(x, linear(mixed, f"{block}.attn.out"))
        normed = norm(x, f"{block}.norm2", centred=not recipe.root_mean_square)
        hidden = tape.activation(linear(normed, f"{block}.fc1"), ACTIVATIONS[recipe.activation])
        x = tape.add(x, linear(hidden, f"{block}.fc2"))
    x = norm(x, "norm")
    linear(tape.first(x) if recipe.class_token else tape.mean(x), "head")
    return tape


def windows_of(recipe: Recipe) -> list[list[int]] | None:
    """The tokens of each moved window, in its own order."""
    if not recipe.windows:
        return None
    at = [[(row + 1) % ROWS * ROWS + (column + 1) % ROWS for column in range(ROWS)] for row in range(ROWS)]
    starts = range(0, ROWS, 2)
    return [[at[y + dy][x + dx] for dy in (0, 1) for dx in (0, 1)] for y in starts for x in starts]
