"""The ResNet-20 and the images of CIFAR-10 that several studies use."""

import importlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["CLASSES", "any_of", "cifar10_pictures", "real_models"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def any_of(count: int) -> np.ndarray:
    """Numbers of images in an order that does not follow the classes."""
    return np.random.default_rng(0).permutation(count)


def real_models() -> Any:
    """The networks and images that the tests read."""
    tests = str(Path(__file__).parents[2] / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    return importlib.import_module("cases.real_models")


def cifar10_pictures(data: Path, split: str, chosen: np.ndarray) -> tuple[Tensor, Tensor]:
    """Images ``(N, 3, 32, 32)`` as the network takes them, and their labels."""
    with np.load(data / "cifar10" / f"cifar10_{split}_jpeg.npz") as archive:
        files, ends, labels = archive["jpeg"], archive["offsets"], archive["y"]
    opened = (Image.open(io.BytesIO(files[ends[i] : ends[i + 1]].tobytes())) for i in chosen.tolist())
    inputs = torch.stack([real_models().to_tensor(one) for one in opened])
    return inputs, torch.from_numpy(labels[chosen]).long()
