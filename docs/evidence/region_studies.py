"""Regions of pixels: covered, pasted into other photos, and a gallery of what covering the most salient ones does."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from contact_sheets import as_picture
from photos import SQUEEZENET_INPUT, Photos, picture_of, scores_of
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from captum_paramsal import InputSpaceSaliency, ParameterSaliency
from captum_paramsal.functional import strongest_window
from captum_paramsal.metrics import area_share, covered, per_pixel
from captum_paramsal.repair import MaskedPixels, mask_pixels, paste_pixels
from captum_paramsal.repair.interventions.pixel_regions import moved, pixel_mask
from captum_paramsal.stats import bootstrap_means

__all__ = ["Gallery", "gallery", "pasted_regions", "region_effects", "usable"]

LEAST, MOST = 0.05, 0.95
"""Share of a photo that its boxes cover, so that there is something to cover inside and outside."""

WINDOW = 0.1
SHARE = 0.05
TILE, TITLE, GAP = 170, 34, 4
NOT_SHOWN = ("4b384c8247b56c0a.jpg",)
"""Photos with a credit in the picture that is not the one of their row."""


def usable(photos: Photos) -> Tensor:
    """Photos with something to cover inside of the boxes and outside, ``(N,)`` bool."""
    area = area_share(photos.boxes, photos.size)
    return (area >= LEAST) & (area <= MOST)


def region_effects(saliency: ParameterSaliency, photos: Photos, fill: Any, *, guilty: bool) -> dict[str, Any]:
    """Means of what becomes of photos when the object, or all else, is covered; beside as large regions elsewhere.

    The control is the same region at a random place, so that it has the same shape and size.
    """
    object_ = covered(photos.boxes, photos.size)
    generator = torch.Generator().manual_seed(0)
    regions = {"object": object_, "background": ~object_}
    regions |= {
        f"{name}, elsewhere": torch.stack([moved(part, generator) for part in region])
        for name, region in list(regions.items())
    }
    scores = saliency.attribute(photos.images, photos.labels, internal_batch_size=25) if guilty else None

    def filter_scores(images: Tensor, labels: Tensor) -> Tensor:
        # Of the photos as they are, the scores are known.
        known = scores if images is photos.images else saliency.attribute(images, labels, internal_batch_size=25)
        if not isinstance(known, Tensor):
            message = f"Expected scores of one input, got {type(known).__name__}."
            raise TypeError(message)
        return known

    arms = {
        name: changes(
            mask_pixels(
                saliency.model,
                photos.images,
                photos.labels,
                masks=region,
                fill=fill,
                filter_scores=filter_scores if guilty else None,
            )
        )
        for name, region in regions.items()
    }
    gaps = {
        name: {key: values - arms[f"{name}, elsewhere"][key] for key, values in arms[name].items()}
        for name in ("object", "background")
    }
    result = {"arms": arms, "minus elsewhere": gaps}
    return {
        "photos": len(photos),
        "area": interval(object_.double().mean(dim=(1, 2))),
        **{
            part: {name: {key: interval(row) for key, row in rows.items()} for name, rows in named.items()}
            for part, named in result.items()
        },
    }


def changes(result: MaskedPixels) -> dict[str, Tensor]:
    """What became of each photo."""
    values = {"predicted class": result.wrong, "true class": result.true, "guilty filters": result.guilty}
    return {
        **{name: pair[:, 1] - pair[:, 0] for name, pair in values.items()},
        "right after": result.corrected[:, 1].double(),
    }


def interval(values: Tensor) -> list[float]:
    """Mean and the ends of its 95 % bootstrap interval."""
    ends: list[float] = bootstrap_means(values.double()[:, None])[:, 0].tolist()
    return ends


def pasted_regions(
    model: nn.Module, mistakes: Photos, others: Tensor, maps: Mapping[str, Tensor], draws: int
) -> dict[str, list[dict[str, Any]]]:
    """How many other photos turn to a mistake's wrong class with a region of it in them, for each choice of the region.

    Args:
        model: A classifier.
        mistakes: Misclassified photos.
        others: Photos that they are put into, ``(M, C, H, W)``.
        maps: Maps of the mistakes by method, ``(N, H, W)``.
        draws: Random regions of each mistake.
    """
    height, width = (round(WINDOW**0.5 * side) for side in mistakes.size)
    regions = {"boxes of the object": covered(mistakes.boxes, mistakes.size)}
    for method, values in maps.items():
        regions[f"5 % of the pixels, {method}"] = pixel_mask(values, mistakes.images, SHARE)
        windows = strongest_window(values.abs(), (height, width))
        regions[f"window of 10 %, {method}"] = covered(windows[:, None], mistakes.size)
    return {
        name: paste_pixels(
            model, mistakes.images, mistakes.labels, others, masks=region, draws=draws, show_progress=False
        ).to_table()
        for name, region in regions.items()
    }


@dataclass(frozen=True)
class Gallery:
    """Photos whose licence lets them be shown, before and after their most salient pixels were covered.

    Attributes:
        picture: Successes above, failures below.
        credits: A line for each photo, in the order of the picture.
        numbers: How many photos there were, and how covering them ended.
    """

    picture: Image.Image
    credits: Sequence[str]
    numbers: Mapping[str, Any]


def gallery(saliency: ParameterSaliency, folder: Path, names: Mapping[int, str], *, limit: int, shown: int) -> Gallery:
    """Cover the most salient 5 % of mistakes on free photos; show those whose true class gained and lost most.

    Args:
        saliency: z-scores.
        folder: With ``labels.csv`` and the photos.
        names: Of the classes.
        limit: Photos that are looked at.
        shown: In each row.
    """
    with (folder / "labels.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))[:limit]
    images = torch.stack([picture_of(folder / "images" / row["file"], SQUEEZENET_INPUT) for row in rows])
    labels = torch.tensor([int(row["label"]) for row in rows])
    model = saliency.model
    predicted = scores_of(model, images).argmax(dim=1)
    wrong = (predicted != labels).nonzero()[:, 0]
    maps = per_pixel(InputSpaceSaliency(saliency).attribute(images[wrong], labels[wrong], internal_batch_size=8))
    salient, random = (
        mask_pixels(model, images[wrong], labels[wrong], maps, share=SHARE, which=which)
        for which in ("salient", "random")
    )
    gain = salient.true[:, 1] - salient.true[:, 0]
    hidden = torch.tensor([rows[place]["file"] in NOT_SHOWN for place in wrong.tolist()])
    right = salient.corrected[:, 1]
    cured = gain.masked_fill(~right | hidden, -torch.inf).topk(shown).indices.tolist()
    lost = gain.masked_fill(right | hidden, torch.inf).topk(shown, largest=False).indices.tolist()
    tiles, credits_ = [], []
    for number in (*cured, *lost):
        place = int(wrong[number])
        label, seen = names[int(labels[place])], names[int(predicted[place])]
        before, after = (f"{100 * value:.0f} %" for value in salient.true[number].tolist())
        others = [f"{100 * value:.0f} %" for value in salient.wrong[number].tolist()]
        title = f"{label}: {before} to {after}\nas {seen}: {others[0]} to {others[1]}"
        tiles.append(_tile(title, as_picture(images[place]), as_picture(salient.images[number])))
        credits_.append(f"{label}: {rows[place]['author']}, {rows[place]['landing_url']}")
    arms = {"salient": salient, "random": random}
    effects = {
        arm: {key: interval(value) for key, value in changes(result).items() if key != "guilty filters"}
        for arm, result in arms.items()
    }
    gap = (salient.corrected[:, 1].double() - random.corrected[:, 1].double(), salient.true - random.true)
    effects["difference"] = {"right after": interval(gap[0]), "true class": interval(gap[1][:, 1])}
    numbers = {"photos": len(rows), "mistakes": len(wrong), "licences": sorted({row["licence"] for row in rows})}
    return Gallery(_rows(tiles, shown), credits_, numbers | effects)


def _tile(title: str, before: Image.Image, after: Image.Image) -> Image.Image:
    tile = Image.new("RGB", (2 * TILE + GAP, TITLE + TILE), "white")
    ImageDraw.Draw(tile).text((0, 0), title, fill="black", font=ImageFont.load_default(13))
    for place, picture in enumerate((before, after)):
        small = picture.resize((TILE, TILE), Image.Resampling.LANCZOS)
        tile.paste(small, (place * (TILE + GAP), TITLE))
    return tile


def _rows(tiles: Sequence[Image.Image], columns: int, gap: int = 10) -> Image.Image:
    """Tiles in rows of ``columns // 2``, so that the picture is not wider than a page."""
    across = max(1, columns // 2)
    width, height = tiles[0].width + gap, tiles[0].height + gap
    sheet = Image.new("RGB", (across * width, -(-len(tiles) // across) * height), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % across * width, place // across * height))
    return sheet
