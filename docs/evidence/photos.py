"""The real networks and the labelled photos that several studies use, prepared as each network takes them."""

import argparse
import csv
import importlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import squeezenet1_1

__all__ = [
    "LITE1_INPUT",
    "SIDE",
    "SQUEEZENET_INPUT",
    "Photos",
    "Preparation",
    "add_data_option",
    "labelled_photos",
    "load_lite1",
    "load_photos",
    "load_squeezenet",
    "picture_of",
    "scores_of",
]

SIDE = 227
"""Of the files, whose boxes are in their pixels."""
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Preparation:
    """How a network takes photos: resized to a square, values in [0, 1] normalised.

    Attributes:
        side: Pixels.
        mean: Of each colour, ``(3,)``.
        std: Of each colour, ``(3,)``.
    """

    side: int
    mean: Tensor
    std: Tensor


SQUEEZENET_INPUT = Preparation(SIDE, MEAN, STD)
LITE1_INPUT = Preparation(240, torch.full((3,), 127 / 255), torch.full((3,), 128 / 255))


@dataclass(frozen=True)
class Photos:
    """Normalised images ``(N, 3, side, side)``, labels ``(N,)`` and the boxes of each image's objects."""

    images: Tensor
    labels: Tensor
    boxes: list[Tensor]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        height, width = self.images.shape[-2:]
        return height, width

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, places: Tensor) -> "Photos":
        """Some of the photos, by their numbers ``(M,)``."""
        return Photos(self.images[places], self.labels[places], [self.boxes[place] for place in places.tolist()])

    def every_second(self, start: int) -> "Photos":
        """Every second photo."""
        return Photos(self.images[start::2], self.labels[start::2], self.boxes[start::2])


def load_photos(folder: Path, limit: int | None, preparation: Preparation = SQUEEZENET_INPUT) -> Photos:
    """Read the photos of a table with the columns file, label and boxes_227_xyxy."""
    rows = _rows(folder)[:limit]
    boxes = [
        torch.tensor(
            [[float(number) for number in box.replace(",", " ").split()] for box in row["boxes_227_xyxy"].split(";")]
        ).clamp(0, SIDE)
        for row in rows
    ]
    scaled = [box * (preparation.side / SIDE) for box in boxes]
    return Photos(*labelled_photos(folder, preparation, limit), scaled)


def labelled_photos(
    folder: Path, preparation: Preparation = SQUEEZENET_INPUT, limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """Images ``(N, 3, side, side)`` and labels of a table with the columns file and label, boxes or not."""
    rows = _rows(folder)[:limit]
    places = {path.name: path for path in folder.rglob("*") if path.is_file()}
    images = torch.stack([picture_of(places[Path(row["file"]).name], preparation) for row in rows])
    return images, torch.tensor([int(row["label"]) for row in rows])


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8") as table:
        return list(csv.DictReader(table))


def picture_of(path: Path, preparation: Preparation) -> Tensor:
    """A photo file as a network takes it, ``(3, side, side)``."""
    picture = Image.open(path).convert("RGB")
    if picture.size != (preparation.side, preparation.side):
        picture = picture.resize((preparation.side, preparation.side), Image.Resampling.BICUBIC)
    photo = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return (photo.float() / 255 - preparation.mean[:, None, None]) / preparation.std[:, None, None]


def load_squeezenet(data: Path) -> nn.Module:
    """SqueezeNet 1.1 for ImageNet, in evaluation mode."""
    model = squeezenet1_1()
    model.load_state_dict(load_file(data / "models" / "squeezenet1_1.safetensors"))
    return model.eval()


def load_lite1(data: Path) -> nn.Module:
    """EfficientNet-Lite1 for ImageNet, which is timm's, in evaluation mode."""
    model: nn.Module = importlib.import_module("timm").create_model("tf_efficientnet_lite1")
    model.load_state_dict(load_file(data / "models" / "tf_efficientnet_lite1.safetensors"))
    return model.eval()


def scores_of(model: nn.Module, images: Tensor) -> Tensor:
    """Class scores, ``(N, C)``, of many images, passed in parts."""
    with torch.no_grad():
        return torch.cat([model(part) for part in images.split(50)])


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Where the files are."""
    data = Path(os.environ.get("PARAMSAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder with models and imagenet_val900")
