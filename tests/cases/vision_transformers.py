"""One vision transformer as three libraries write it, with the same weights."""

import re

import pytest
import torch
from torch import nn


class Logits(nn.Module):
    """What a model of Hugging Face returns, as class scores."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *args, **kwargs):
        return self.model(*args, **kwargs).logits


def torchvision_vit(shape):
    size, patch, depth, heads, width, hidden, classes = shape
    torchvision = pytest.importorskip("torchvision")
    return torchvision.models.VisionTransformer(size, patch, depth, heads, width, hidden, num_classes=classes)


def timm_vit(shape):
    size, patch, depth, heads, width, hidden, classes = shape
    timm = pytest.importorskip("timm")
    return timm.models.VisionTransformer(
        size, patch, num_classes=classes, embed_dim=width, depth=depth, num_heads=heads, mlp_ratio=hidden / width,
        qkv_bias=True,
    )  # fmt: skip


def hugging_face_vit(shape):
    size, patch, depth, heads, width, hidden, classes = shape
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        image_size=size, patch_size=patch, num_hidden_layers=depth, num_attention_heads=heads, hidden_size=width,
        intermediate_size=hidden, num_labels=classes, layer_norm_eps=1e-6,
    )  # fmt: skip
    return Logits(transformers.ViTForImageClassification(config))


BUILDERS = {"torchvision": torchvision_vit, "timm": timm_vit, "Hugging Face": hugging_face_vit}

_NAMES = {
    "torchvision": [
        (r"cls_token", "class_token"), (r"pos_embed", "encoder.pos_embedding"), (r"patch_embed\.proj", "conv_proj"),
        (r"blocks\.(\d+)", r"encoder.layers.encoder_layer_\1"), (r"norm([12])\.", r"ln_\1."),
        (r"^norm\.", "encoder.ln."),
        (r"attn\.qkv\.", "self_attention.in_proj_"), (r"attn\.proj", "self_attention.out_proj"),
        (r"mlp\.fc1", "mlp.0"), (r"mlp\.fc2", "mlp.3"), (r"^head\.", "heads.head."),
    ],
    "Hugging Face": [
        (r"cls_token", "model.vit.embeddings.cls_token"), (r"pos_embed", "model.vit.embeddings.position_embeddings"),
        (r"patch_embed\.proj", "model.vit.embeddings.patch_embeddings.projection"),
        (r"^norm\.", "model.vit.layernorm."),
        (r"blocks\.(\d+)", r"model.vit.layers.\1"), (r"norm1\.", "layernorm_before."), (r"norm2\.", "layernorm_after."),
        (r"attn\.proj", "attention.o_proj"), (r"attn\.", "attention."), (r"^head\.", "model.classifier."),
    ],
}  # fmt: skip


def three_with_the_same_weights(*shape):
    """The three models in float64, by library, with random weights that are the same.

    Args:
        shape: Image, patch, blocks, heads, width, hidden features, classes.
    """
    models = {name: build(shape).double().eval() for name, build in BUILDERS.items()}
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in models["timm"].named_parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64) * 0.1)
            for library in _NAMES:
                _set(models[library], _name_in(library, name), parameter)
    return models


def _name_in(library, name):
    for pattern, replacement in _NAMES[library]:
        name = re.sub(pattern, replacement, name)
    return name


def _set(model, name, value):
    if ".qkv." in name:
        for part, rows in zip("qkv", value.chunk(3), strict=True):
            _set(model, name.replace(".qkv.", f".{part}_proj."), rows)
    else:
        model.get_parameter(name).copy_(value.reshape(model.get_parameter(name).shape))
