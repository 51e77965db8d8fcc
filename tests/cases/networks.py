"""Small networks that do what hooks stumble over: each is a correct function of one image at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class Classifier(nn.Module):
    """Features ``(N, K, ...)``, averaged over every place, then three classes."""

    def __init__(self, channels: int, classes: int = 3) -> None:
        super().__init__()
        self.head = nn.Linear(channels, classes)

    def classify(self, features: Tensor) -> Tensor:
        return self.head(features.flatten(2).mean(dim=2))


class Around(Classifier):
    """One layer of any kind between an input and a classifier."""

    def __init__(self, layer: nn.Module, channels: int) -> None:
        super().__init__(channels)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.layer(x).tanh())


class InPlace(Classifier):
    """Every activation and every sum is written over the output of a convolution."""

    def __init__(self) -> None:
        super().__init__(6)
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 6, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        y = self.second(x)
        y += x
        y = self.relu(y)
        z = self.third(y)
        z.mul_(0.5).add_(0.1)
        z[:, 0].zero_()
        return self.classify(F.leaky_relu_(z))


class Twice(Classifier):
    """One convolution called twice: its gradients add up before the absolute value."""

    def __init__(self) -> None:
        super().__init__(4)
        self.stem = nn.Conv2d(2, 4, 3)
        self.shared = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu_()
        return self.classify(self.shared(self.shared(x).relu_()))


class TwiceInTwoSizes(Classifier):
    """One convolution called on two scales of the image."""

    def __init__(self) -> None:
        super().__init__(4)
        self.shared = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.shared(x).tanh().mean((2, 3)) + self.shared(F.avg_pool2d(x, 2)).tanh().mean((2, 3)))


class Tied(Classifier):
    """Two convolutions that own one weight, called with different strides."""

    def __init__(self) -> None:
        super().__init__(4)
        self.stem = nn.Conv2d(2, 4, 3)
        self.left = nn.Conv2d(4, 4, 3, padding=1)
        self.right = nn.Conv2d(4, 4, 3, stride=2)
        self.right.weight = self.left.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.right(self.left(self.stem(x).relu()).relu()))


class FunctionalWeight(Classifier):
    """A convolution that is never called: only its weight is used."""

    def __init__(self) -> None:
        super().__init__(4)
        self.stem = nn.Conv2d(2, 4, 3)
        self.borrowed = nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.classify(F.conv2d(x, self.borrowed.weight, self.borrowed.bias, stride=2))


class CalledAndBorrowed(nn.Module):
    """A Linear that is called and whose weight is used once more, transposed (a tied autoencoder)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 4)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.linear(self.encoder(x).relu(), self.encoder.weight.t()).tanh())


class TiedEmbedding(nn.Module):
    """Tokens in, tokens out: the last Linear owns the weight of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.convolution = nn.Conv1d(5, 5, 3, padding="same")
        self.output = nn.Linear(5, 7, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.convolution(self.embedding(tokens).transpose(1, 2)).tanh()
        return self.output(x.mean(dim=2))


class Video(Classifier):
    """Time folded into the batch before a convolution: video-major or time-major."""

    def __init__(self, *, time_major: bool) -> None:
        super().__init__(4)
        self.frame = nn.Conv2d(2, 4, 3)
        self.time_major = time_major

    def forward(self, x: Tensor) -> Tensor:
        videos, frames = x.shape[:2]
        if self.time_major:
            y = self.frame(x.transpose(0, 1).flatten(0, 1)).tanh().unflatten(0, (frames, videos)).transpose(0, 1)
        else:
            y = self.frame(x.flatten(0, 1)).tanh().unflatten(0, (videos, frames))
        weights = torch.linspace(1, 2, frames, dtype=x.dtype)[:, None, None, None]
        return self.classify((y * weights).sum(dim=1))


class SequenceFirst(nn.Module):
    """Attention and Linear that see ``(L, N, E)``."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(6, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x.transpose(0, 1)).tanh()
        x = x + self.attention(x, x, x, need_weights=False)[0]
        weights = torch.linspace(1, 2, len(x), dtype=x.dtype)[:, None, None]
        return self.head((x * weights).mean(dim=0))


class BatchInAnyOrder(Classifier):
    """The batch stands in another order inside than outside, as in models that sort their sequences."""

    def __init__(self) -> None:
        super().__init__(4)
        self.inside = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.inside(x.flip(0)).tanh().flip(0))


class BatchTwice(Classifier):
    """Every image beside its mirror image in one batch of 2 N."""

    def __init__(self) -> None:
        super().__init__(4)
        self.both = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        straight, mirrored = self.both(torch.cat([x, x.flip(3)])).tanh().chunk(2)
        return self.classify(straight + 2 * mirrored)


class OneByOne(Classifier):
    """The layer is called once per image, without a batch dimension."""

    def __init__(self) -> None:
        super().__init__(4)
        self.single = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(torch.stack([self.single(image).tanh() for image in x]))


class SharedQuery(Classifier):
    """A convolution that sees the same learned picture for every image, once for the whole batch."""

    def __init__(self) -> None:
        super().__init__(4)
        self.picture = nn.Parameter(torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(3)))
        self.query = nn.Conv2d(2, 4, 3, padding=1)
        self.key = nn.Conv2d(2, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify((self.query(self.picture) * self.key(x)).tanh())


class Experts(nn.Module):
    """A mixture of experts: tokens are gathered by a router, so an expert's rows are not the batch's rows."""

    def __init__(self, *, tokens_per_image: int) -> None:
        super().__init__()
        self.tokens = tokens_per_image
        self.experts = nn.ModuleList([nn.Linear(6, 5), nn.Linear(6, 5)])
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, 6)
        choice = (tokens[:, 0] > 0).long()
        mixed = tokens.new_zeros(len(tokens), 5)
        for number, expert in enumerate(self.experts):
            chosen = (choice == number).nonzero()[:, 0]
            mixed = mixed.index_copy(0, chosen, expert(tokens[chosen]).tanh())
        return self.head(mixed.reshape(len(x), self.tokens, 5).mean(dim=1))


class Checkpointed(Classifier):
    """Layers that run again in the backward pass."""

    def __init__(self) -> None:
        super().__init__(4)
        self.stem = nn.Conv2d(2, 4, 3)
        self.again = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.classify(checkpoint(lambda y: self.again(y).relu_() + y, x, use_reentrant=False))


class Stopped(Classifier):
    """A trunk without gradients and a detached branch: their filters have no part in the loss's gradient."""

    def __init__(self) -> None:
        super().__init__(4)
        self.trunk = nn.Conv2d(2, 4, 3)
        self.branch = nn.Conv2d(4, 4, 1)
        self.live = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.trunk(x).relu()
        return self.classify(self.branch(x).detach() * self.live(x))


class Discarded(Classifier):
    """One call's result is thrown away, and one layer's only result is."""

    def __init__(self) -> None:
        super().__init__(4)
        self.used = nn.Conv2d(2, 4, 3)
        self.unused = nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.used(x * 2)
        self.unused(x)
        return self.classify(self.used(x).tanh())


class StandardizedConv2d(nn.Conv2d):
    """A convolution that changes its weight before using it: no rule made for ``nn.Conv2d`` holds for it."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, (self.weight - mean) / (self.weight - mean).norm(), self.bias, self.stride, self.padding)


class SamePaddedConv2d(nn.Conv2d):
    """A convolution that pads for itself and then does what its parent does."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class PlainConv2d(nn.Conv2d):
    """A convolution by another name."""


class Scale(nn.Module):
    """A layer of one's own: a weight and no rule."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None]


class Keywords(Classifier):
    """Layers called with their arguments by name."""

    def __init__(self) -> None:
        super().__init__(4)
        self.convolution = nn.Conv2d(2, 4, 3)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(input=x).tanh()
        return self.classify(self.linear(input=x.movedim(1, -1)).movedim(-1, 1))


class Upsampling(Classifier):
    """A transposed convolution told the size of its output."""

    def __init__(self) -> None:
        super().__init__(3)
        self.down = nn.Conv2d(2, 4, 3, stride=2)
        self.up = nn.ConvTranspose2d(4, 3, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.up(self.down(x).relu(), output_size=x.shape[2:]).tanh())


class Everything(Classifier):
    """Normalisation, dropout, groups and an own layer: what an explicitly named layer may be."""

    def __init__(self) -> None:
        super().__init__(6)
        self.convolution = nn.Conv2d(2, 6, 3, groups=2)
        self.batch_norm = nn.BatchNorm2d(6)
        self.group_norm = nn.GroupNorm(3, 6)
        self.layer_norm = nn.LayerNorm([4, 4])
        self.prelu = nn.PReLU(6)
        self.scale = Scale(6)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.batch_norm(self.convolution(x)))
        return self.classify(self.dropout(self.scale(self.layer_norm(self.group_norm(x)).tanh())))


class TwoImages(Classifier):
    """Two inputs, a tensor with a row per image, a number, a switch and a ``None``."""

    def __init__(self) -> None:
        super().__init__(4)
        self.left = nn.Conv2d(2, 4, 3)
        self.right = nn.Conv1d(3, 4, 3)

    def forward(self, x: Tensor, y: Tensor, scale: Tensor, *options: Any) -> Tensor:
        power, switch, nothing = options
        assert nothing is None
        x = self.left(x).tanh() * scale[:, None, None, None]
        y = self.right(y).tanh().mean(dim=2)
        features = x.flatten(2).mean(dim=2) ** power + (y if switch else -y)
        return self.head(features)


class Dense(nn.Module):
    """A score per class and place, ``(N, 3, H, W)``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).relu()).tanh()
        return self.head(x.movedim(1, -1)).movedim(-1, 1)


class CrossAttention(nn.Module):
    """Keys and values of other widths than the query, so each has a weight of its own; called twice."""

    def __init__(self, *, bias: bool = True, batch_first: bool = True) -> None:
        super().__init__()
        self.query = nn.Linear(6, 8)
        self.attention = nn.MultiheadAttention(8, 4, kdim=6, vdim=5, bias=bias, batch_first=batch_first)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        query, value = self.query(x), x[..., :5]
        if not self.attention.batch_first:
            query, x, value = (t.transpose(0, 1) for t in (query, x, value))
        first = self.attention(query, x, value, key_padding_mask=padding)[0]
        second = self.attention(query=first.tanh(), key=x, value=value, average_attn_weights=False)[0]
        return self.head(second.mean(dim=1 if self.attention.batch_first else 0))


class Encoder(nn.Module):
    """PyTorch's own encoder, which takes another road where nothing needs a gradient."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, batch_first=True, norm_first=False)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x)[:, 0])


class NetworkInNetwork(nn.Module):
    """Ends in a convolution whose channels are the class scores; ``ending`` says how they leave."""

    def __init__(self, ending: str, classes: int = 3) -> None:
        super().__init__()
        self.ending = ending
        self.stem = nn.Conv2d(2, classes, 3)  # as many channels as classes, and still not the class scores
        self.middle = nn.Conv2d(classes, 4, 3)
        self.scores = nn.Conv2d(4, classes, 1)
        self.linear = nn.Linear(classes, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.stem(x).relu()).relu()
        endings = {
            "relu, pool, flatten": lambda: F.adaptive_avg_pool2d(self.scores(x).relu(), 1).flatten(1),
            "pool, flatten": lambda: F.adaptive_avg_pool2d(self.scores(x), 1).flatten(1),
            "mean": lambda: self.scores(x).mean(dim=(2, 3)),
            "largest": lambda: self.scores(x).amax(dim=(2, 3)),
            "after the pool": lambda: self.scores(x.mean(dim=(2, 3), keepdim=True)).squeeze(3).squeeze(2),
            "a map of scores": lambda: self.scores(x),
            "linear": lambda: self.linear(self.scores(x).mean(dim=(2, 3))),
            "places are the classes": lambda: self.scores(x).sum(dim=1).flatten(1),
        }
        return endings[self.ending]()
