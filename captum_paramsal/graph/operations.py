"""What every operation does to channels and places: the one table that all readings of the graph look in.

A row holds an operation in all its spellings. Trace rules are registered for rows, the class scores, the last feature
maps and the tail of a network are found by them: what one of these knows of, the others know of too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from captum_paramsal.graph.written_over import written_through

Operation: TypeAlias = type[nn.Module] | Callable[..., Any] | str
"""A type of module, a function, or the name of a tensor's method, or of a function with its module."""


class Kind(Enum):
    """What an operation does."""

    CONVOLUTION = "weighted sums over windows of a map"
    LINEAR = "weighted sums over features"
    CONTRACTION = "products of two operands, summed over some dimensions"
    ATTENTION = "mixtures of values, in shares that queries and keys decide"
    ACTIVATION = "a function of each value, that grows with it or nearly so"
    GATED_ACTIVATION = "a value times a gate that is computed from it"
    GATED_HALF = "one half of the values times a gate that is computed from the other half"
    ELEMENTWISE = "another function of each value"
    NEGATION = "each value with its sign turned"
    SOFTMAX = "shares along one dimension"
    SAME = "the values as they are"
    DROPOUT = "the values as they are, in evaluation mode"
    BATCH_NORMALIZATION = "each channel by statistics that are kept"
    INSTANCE_NORMALIZATION = "each channel of an image by its own statistics"
    NORMALIZATION = "several channels of an image by their common statistics"
    RMS_NORMALIZATION = "several channels of an image by their common size"
    LOCAL_NORMALIZATION = "each value by those of the channels next to its own"
    MAX_POOL = "the largest value of each window of a map"
    ADAPTIVE_MAX_POOL = "the same for a map of a wanted size"
    AVERAGE_POOL = "the mean of each window of a map"
    OTHER_POOL = "each channel over other windows"
    RESIZING = "each channel in another size"
    OVERLAY = "windows laid over each other, and added up where they overlap"
    AVERAGE = "means over some dimensions"
    MAXIMUM = "largest values over some dimensions"
    ORDER = "the largest or smallest values along a dimension, or all in their order"
    LARGER = "the larger of two operands"
    REDUCTION = "sums over some dimensions"
    FLATTENING = "several dimensions as one"
    RESHAPING = "the values in their order, in another shape"
    REARRANGEMENT = "the values in other places, and constants"
    SUM_OF_PRODUCT = "a sum with a product"
    SUM = "sums or differences of two operands"
    PRODUCT = "products of two operands"
    QUOTIENT = "quotients of two operands"


class Spellings(NamedTuple):
    """The ways to write operations of one kind."""

    modules: tuple[type[nn.Module], ...] = ()
    functions: tuple[Callable[..., Any] | str, ...] = ()
    methods: tuple[str, ...] = ()

    @property
    def calls(self) -> tuple[Operation, ...]:
        """Those that a run calls: functions and methods."""
        return (*self.functions, *self.methods)

    @property
    def every(self) -> tuple[Operation, ...]:
        """All of them."""
        return (*self.modules, *self.functions, *self.methods)


def _spelled(
    names: str, modules: tuple[type[nn.Module], ...] = (), functions: tuple[Callable[..., Any] | str, ...] = ()
) -> Spellings:
    """Modules and functions, and what PyTorch has under some names: functions and methods, in place too."""
    both = [name + ending for name in names.split() for ending in ("", "_")]
    spelled = [getattr(place, name, None) for name in both for place in (functional, torch)]
    named = dict.fromkeys(function for function in spelled if callable(function))
    return Spellings(modules, (*functions, *named), tuple(name for name in both if hasattr(Tensor, name)))


OPERATIONS: Mapping[Kind, Spellings] = {
    Kind.CONVOLUTION: _spelled(
        "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
        (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    ),
    Kind.LINEAR: _spelled("linear", (nn.Linear,)),
    Kind.CONTRACTION: _spelled("matmul bmm mm einsum baddbmm addmm addbmm mv dot", functions=(operator.matmul,)),
    Kind.ATTENTION: _spelled("scaled_dot_product_attention"),
    Kind.ACTIVATION: _spelled(
        "relu relu6 leaky_relu prelu rrelu elu celu selu sigmoid logsigmoid log_sigmoid tanh softplus softsign "
        "hardtanh hardsigmoid hardshrink softshrink tanhshrink threshold clamp clamp_min clamp_max clip",
        (
            nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.Sigmoid, nn.LogSigmoid,
            nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink,
            nn.Tanhshrink, nn.Threshold,
        ),
    ),
    Kind.GATED_ACTIVATION: _spelled("gelu silu mish hardswish", (nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish)),
    Kind.GATED_HALF: _spelled("glu"),
    Kind.ELEMENTWISE: _spelled(
        "abs cos erf exp expm1 log log1p pow reciprocal rsqrt sin sqrt square", functions=(operator.pow,)
    ),
    Kind.NEGATION: _spelled("neg negative", functions=(operator.neg,)),
    Kind.SOFTMAX: _spelled("softmax log_softmax", (nn.Softmax, nn.Softmax2d, nn.LogSoftmax)),
    Kind.SAME: _spelled(
        "clone contiguous detach float double half bfloat16 to type type_as requires_grad_ cpu cuda data real "
        "nan_to_num positive",
        (nn.Identity,),
    ),
    Kind.DROPOUT: _spelled(
        "dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout",
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
        # By name: no file but those of `sources` loads torchvision.
        ("torchvision.ops.stochastic_depth.stochastic_depth",),
    ),
    Kind.BATCH_NORMALIZATION: _spelled(
        "batch_norm", (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    ),
    Kind.INSTANCE_NORMALIZATION: _spelled("instance_norm", (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)),
    Kind.NORMALIZATION: _spelled("group_norm layer_norm", (nn.GroupNorm, nn.LayerNorm)),
    # PyTorch has it from version 2.4 on.
    Kind.RMS_NORMALIZATION: _spelled("rms_norm", (nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()),
    Kind.LOCAL_NORMALIZATION: _spelled("local_response_norm", (nn.LocalResponseNorm, nn.CrossMapLRN2d)),
    Kind.MAX_POOL: _spelled("max_pool1d max_pool2d max_pool3d", (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)),
    Kind.ADAPTIVE_MAX_POOL: _spelled(
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
        (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    ),
    Kind.AVERAGE_POOL: _spelled(
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
        (
            nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
            nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
        ),
    ),
    Kind.OTHER_POOL: _spelled(
        "lp_pool1d lp_pool2d lp_pool3d fractional_max_pool2d fractional_max_pool3d "
        "max_unpool1d max_unpool2d max_unpool3d",
        (
            nn.modules.pooling._LPPoolNd,  # noqa: SLF001 -- base of all
            nn.FractionalMaxPool2d, nn.FractionalMaxPool3d, nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d,
        ),
    ),
    Kind.RESIZING: _spelled("interpolate upsample", (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)),
    Kind.OVERLAY: _spelled("fold", (nn.Fold,)),
    Kind.AVERAGE: _spelled("mean"),
    Kind.MAXIMUM: _spelled("amax max"),
    Kind.LARGER: _spelled("maximum"),
    Kind.ORDER: _spelled("topk sort kthvalue median quantile cummax"),
    Kind.REDUCTION: _spelled("sum logsumexp"),
    Kind.FLATTENING: _spelled("flatten", (nn.Flatten,)),
    Kind.RESHAPING: _spelled("view view_as reshape reshape_as unflatten squeeze ravel", (nn.Unflatten,)),
    Kind.REARRANGEMENT: _spelled(
        "cat concat concatenate stack hstack vstack permute transpose swapaxes swapdims movedim moveaxis unsqueeze "
        "chunk split split_with_sizes tensor_split narrow select unbind expand expand_as broadcast_to repeat "
        "repeat_interleave tile flip roll rot90 t T mT index_select gather take_along_dim masked_fill where "
        "copy fill zero channel_shuffle pixel_shuffle pixel_unshuffle unfold native_channel_shuffle",
        (
            nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.ZeroPad2d, nn.ReflectionPad2d,
            nn.ReplicationPad2d, nn.CircularPad2d, nn.ConstantPad2d, nn.Unfold,
        ),
        (functional.pad, operator.getitem, operator.setitem, written_through),
    ),
    Kind.SUM: _spelled(
        "add sub subtract rsub", functions=(operator.add, operator.iadd, operator.sub, operator.isub)
    ),
    Kind.SUM_OF_PRODUCT: _spelled("addcmul"),
    Kind.PRODUCT: _spelled("mul multiply", functions=(operator.mul, operator.imul)),
    Kind.QUOTIENT: _spelled("div divide true_divide", functions=(operator.truediv, operator.itruediv)),
}  # fmt: skip
"""Every operation that is known of, by what it does."""

_KINDS: Mapping[Operation, Kind] = {
    spelling: kind for kind, spellings in OPERATIONS.items() for spelling in spellings.every
}

_IN_PLACE_OPERATORS: frozenset[Callable[..., Any]] = frozenset(
    {operator.iadd, operator.imul, operator.isub, operator.itruediv, operator.iand, operator.ior, operator.setitem}
)


def kind_of(node: fx.Node, model: nn.Module) -> Kind | None:
    """What an operation of a graph does; None for one that is not known of.

    Args:
        node: The operation.
        model: The model that ran.
    """
    return next((_KINDS[spelling] for spelling in spellings_of(node, model) if spelling in _KINDS), None)


def has_kind(operation: Any) -> bool:
    """Whether it is known what an operation does."""
    return operation in _KINDS


def kind_of_type(module: type[nn.Module]) -> Kind | None:
    """What modules of a type do, or of one that it is derived from."""
    return next((_KINDS[base] for base in module.__mro__ if base in _KINDS), None)


def spellings_of(node: fx.Node, model: nn.Module) -> tuple[Operation, ...]:
    """Under what an operation of a graph may be known, the nearest first; nothing for inputs, outputs and constants."""
    if node.op == "call_module":
        return type(model.get_submodule(str(node.target))).__mro__
    if node.op == "call_function":
        function: Any = node.target
        # An attribute that is read, such as `x.T`, is known by its name.
        return (str(node.args[1]),) if function is getattr else (function, name_of(function))
    return (str(node.target),) if node.op == "call_method" else ()


def name_of(target: Any) -> str:
    """Name of a function with its module, or of a method."""
    return target if isinstance(target, str) else f"{getattr(target, '__module__', '')}.{target.__name__}"


def may_write_in_place(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation may write over its first argument, by its name and its flags."""
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return (
        target in _IN_PLACE_OPERATORS
        or (name.endswith("_") and not name.endswith("__"))
        or bool(kwargs.get("inplace"))
        or any(argument is True for argument in args[1:])
    )


def writes_in_place(node: fx.Node) -> bool:
    """Whether an operation of a graph wrote over its first argument."""
    return bool(node.meta.get("in_place"))
