"""Small image classifiers of Hugging Face's families, with random weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

LABELS = {"num_labels": 5}
IMAGE = {"image_size": 32, "num_channels": 3}
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "hidden_size": 16}

FAMILIES = {
    "ResNet": {
        "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "num_channels": 3,
    },
    "ViT": IMAGE | LAYERS | {"patch_size": 8},
    "DeiT": IMAGE | LAYERS | {"patch_size": 8},
    "Beit": IMAGE | LAYERS | {"patch_size": 8, "use_relative_position_bias": True},
    "Swin": IMAGE | {"patch_size": 2, "embed_dim": 8, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4},
    "ConvNext": IMAGE | {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 4},
    "MobileNetV2": IMAGE | {"depth_multiplier": 0.25},
    "CLIP": {"vision_config": IMAGE | LAYERS | {"patch_size": 8, "projection_dim": 8}},
}  # fmt: skip


def classifier(family: str) -> nn.Module:
    """A classifier of five classes, in double precision; norms have seen some images."""
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, f"{family}Config")(**FAMILIES[family], **LABELS)
        model: nn.Module = getattr(transformers, f"{family}ForImageClassification")(config).double()
        with torch.no_grad():
            for parameter in model.parameters():
                # As they come, many start at zero or so near to it that nothing has a gradient.
                parameter.add_(0.1 * torch.randn_like(parameter))
            model.train()(torch.randn(8, 3, 32, 32).double())
    return model.eval()
