"""Photos to be read from files: real ones under many names, or made-up ones of a usual size."""

import csv
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captum_paramsal.sources import LabelledPhotos, Preprocessing

DATA = Path(os.environ.get("PARAMSAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
SETS = ("nips2017_dev911", "imagenet_val900")
MADE_UP, SIDES = 64, (500, 375)


def photo_folder(folder: Path, count: int, source: str = SETS[0]) -> str:
    """Fill a folder with so many photos and a table of their labels; files repeat under other names.

    Args:
        folder: Empty.
        count: Photos.
        source: A set in the folder of data; made-up photos take its place where it is absent.

    Returns:
        What they are, in words.
    """
    known = _real(source) or _made_up(folder / "made")
    (folder / "photos").mkdir()
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "label"])
        for number in range(count):
            path, label = known[number % len(known)]
            name = f"{number:06}{path.suffix}"
            (folder / "photos" / name).symlink_to(path.resolve())
            table.writerow([name, label])
    real = known[0][0].is_relative_to(DATA)
    what = f"photos of {source}" if real else f"made-up photos of {SIDES[0]} x {SIDES[1]} pixels"
    return f"{count:,} files of {len(known)} {what}"


def opened(folder: Path, preprocessing: Preprocessing | None = None) -> LabelledPhotos:
    """The photos of such a folder."""
    return LabelledPhotos.open(folder / "photos", preprocessing or Preprocessing(), labels=folder / "labels.csv")


def _real(source: str) -> list[tuple[Path, int]]:
    root = DATA / source
    if not (root / "labels.csv").is_file():
        return []
    with (root / "labels.csv").open(newline="", encoding="utf-8") as file:
        return [(root / "images" / row["file"], int(row["label"])) for row in csv.DictReader(file)]


def _made_up(folder: Path) -> list[tuple[Path, int]]:
    """Smooth shapes with some grain, which take about as long to unpack as a photo."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(MADE_UP):
        coarse = torch.rand(1, 3, 12, 16, generator=generator)
        width, height = SIDES
        smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
        grain = 0.05 * torch.randn(3, height, width, generator=generator)
        pixels = (255 * (smooth + grain).clamp(0, 1)).byte().permute(1, 2, 0).numpy()
        path = folder / f"{number:03}.jpg"
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, quality=90)
        made.append((path, number))
    return made
