"""Which box fits the object best? Rules that make a box of a map, on labelled photos with boxes.

``python docs/evidence/object_boxes.py`` chooses the numbers of the rule on every second photo, scores all rules on the
others, and writes the tables of ``object_boxes.md``. Traces are kept in the work folder, so that a second run takes a
minute.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import torch
from object_pointing import NETWORKS, captum_methods
from photos import Photos, add_data_option, load_photos, scores_of
from results import Results, markdown_table, with_interval
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal import CNNFixations, DiscernibleNeurons, Trace
from captum_paramsal.functional.mass_boxes import EVEN_VOTES, OUTSIDE, box_of_mass
from captum_paramsal.metrics import area_share, box_of, has_small_boxes, iou

LOG = logging.getLogger("object_boxes")
SHARES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12)
VOTES = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 17.0, 20.0)
SIDES = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
CHOSEN_BY = ("Grad-CAM", "CNN-Fixations", "discernible neurons")


@dataclass(frozen=True)
class Maps:
    """What a method found on every photo.

    Attributes:
        values: Maps, ``(N, H, W)``.
        counts: Points that each was made of, ``(N,)``; None for a map that has none.
        usual: Boxes by the rule of the method's authors, ``(N, 4)``.
    """

    values: Tensor
    counts: Tensor | None
    usual: Tensor

    def boxes(self, outside: float, votes: float) -> Tensor:
        """Boxes of the mass, after votes spread evenly over the image were added to those of a trace."""
        even: float | Tensor = 0.0 if self.counts is None else votes / (votes + self.counts)
        x, y = (box_of_mass(profile, outside, even) for profile in self._profiles)
        return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)

    @cached_property
    def _profiles(self) -> tuple[Tensor, Tensor]:
        """Sums along columns and rows: all that the rule looks at, and much smaller than the map."""
        positive = self.values.clamp(min=0)
        return positive.sum(dim=1, dtype=torch.float64), positive.sum(dim=2, dtype=torch.float64)


def maps_of(options: argparse.Namespace, model: nn.Module, photos: Photos) -> dict[str, Maps]:
    """Grad-CAM and the traces, each for the predicted class."""
    predicted = scores_of(model, photos.images).argmax(dim=1)
    cam = captum_methods(model, NETWORKS[options.network].last_maps, steps=0)["Grad-CAM"]
    parts = list(zip(photos.images.split(25), predicted.split(25), strict=True))
    values = torch.cat([cam(images, classes).detach() for images, classes in tqdm(parts, desc="Grad-CAM")])
    found = {"Grad-CAM": Maps(values, None, box_of(values))}
    methods: dict[str, CNNFixations | DiscernibleNeurons] = {
        "CNN-Fixations": CNNFixations(model),
        "discernible neurons": DiscernibleNeurons(model),
    }
    if options.wide:
        methods["discernible neurons, places=0.3"] = DiscernibleNeurons(model, places=0.3)
    for name, method in methods.items():
        kept = options.work / f"{options.network}, {name}.safetensors"
        if not kept.exists():
            traces = [method.trace(images, classes) for images, classes in tqdm(parts, desc=name)]
            Trace.joined(traces).save(kept)
        trace = Trace.load(kept)
        counts = torch.tensor([len(trace.points(image)) for image in range(len(photos))])
        found[name] = Maps(trace.heatmap(), counts.clamp(min=1), trace.boxes())
    return found


def centred(side: float, photos: Photos) -> Tensor:
    """The same box in the middle of every photo, its sides this share of the photo's."""
    height, width = photos.size
    sides = torch.tensor([width, height], dtype=torch.float64)
    return torch.cat([sides * (1 - side) / 2, sides * (1 + side) / 2]).expand(len(photos), 4)


def chosen(found: dict[str, Maps], photos: Photos, half: Tensor) -> tuple[tuple[float, float], dict[str, list[float]]]:
    """The share and the votes with the most good boxes of one half, the mean over the methods, and all that was tried.

    Returns:
        Share and votes; and under "share, votes" the percentage of good boxes of each method.
    """
    tried = {}
    for share, votes in tqdm(list(product(SHARES, VOTES)), desc="choosing"):
        good = [iou(found[name].boxes(share, votes), photos.boxes)[half] > 0.5 for name in CHOSEN_BY]
        tried[share, votes] = [100 * one.double().mean().item() for one in good]
    best = max(tried, key=lambda pair: sum(tried[pair]))
    return best, {f"{share}, {votes:g}": values for (share, votes), values in tried.items()}


def rules(found: dict[str, Maps], photos: Photos, share: float, votes: float, side: float) -> dict[str, Tensor]:
    """Boxes of every method by every rule, under "method: rule"."""
    boxes = {"fixed box in the middle": centred(side, photos), "whole image": centred(1.0, photos)}
    for name, maps in found.items():
        traced = maps.counts is not None
        boxes[f"{name}: {'tight box of the points' if traced else 'largest piece above 15 %'}"] = maps.usual
        if traced:
            boxes[f"{name}: largest piece above 15 %"] = box_of(maps.values)
        boxes[f"{name}: mass"] = maps.boxes(share, 0.0)
        if traced:
            boxes[f"{name}: mass, even votes"] = maps.boxes(share, votes)
    return boxes


def scored(boxes: Tensor, middle: Tensor, photos: Photos, half: Tensor, right: Tensor) -> dict[str, str]:
    """One rule on one half, beside the fixed box of the middle."""
    overlap, control = (iou(one, photos.boxes) for one in (boxes, middle))
    good, usual = ((one > 0.5).double() for one in (overlap, control))
    small = has_small_boxes(photos.boxes, photos.size)
    return {
        "IoU > 0.5": with_interval(good[half]),
        "of the correct": with_interval(good[half & right]),
        "of small objects": with_interval(good[half & small]),
        "mean IoU": with_interval(overlap[half], 2, percent=False),
        "area": f"{100 * area_share(boxes, photos.size)[half].mean():.0f}",
        "to the fixed box": with_interval((good - usual)[half]),
    }


def best_piece(found: dict[str, Maps], photos: Photos, half: Tensor) -> dict[str, str]:
    """Good boxes if someone who knows the object chose the threshold of the largest piece, photo by photo."""
    thresholds = [0.02 + 0.06 * step for step in range(15)]
    rates = {}
    for name, maps in found.items():
        overlap = torch.stack([iou(box_of(maps.values, one), photos.boxes) for one in thresholds])
        rates[name] = with_interval((overlap.amax(dim=0)[half] > 0.5).double())
    return rates


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose, score, and write ``object_boxes.json`` and ``object_boxes.md`` to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    subject = NETWORKS[options.network]
    model = subject.load(options.data)
    photos = load_photos(options.data / "imagenet_val900", options.limit, subject.preparation)
    right = scores_of(model, photos.images).argmax(dim=1) == photos.labels
    learn = torch.arange(len(photos)) % 2 == 0
    found = maps_of(options, model, photos)
    results = Results(options.work / f"object_boxes, {options.network}.json")
    sides = {side: (iou(centred(side, photos), photos.boxes)[learn] > 0.5).double().mean().item() for side in SIDES}
    side = max(sides, key=lambda one: sides[one])
    (share, votes), tried = chosen(found, photos, learn)
    LOG.info("chosen here: %s outside, %s votes, a fixed box of %s", share, votes, side)
    results.once("tried", lambda: tried)
    middle, rows = centred(side, photos), []
    for name, boxes in rules(found, photos, OUTSIDE, EVEN_VOTES, side).items():
        cells = scored(boxes, middle, photos, ~learn, right)
        rows.append([name, *cells.values()])
        header = ["rule", *cells]
    text = f"Chosen: {share} outside, {votes:g} votes, a fixed box of {side}.\n\n{markdown_table(header, rows)}"
    if options.oracle:
        text += "\n" + "\n".join(f"* {name}: {rate}" for name, rate in best_piece(found, photos, ~learn).items()) + "\n"
    LOG.info("\n%s", text)
    (options.work / f"object_boxes, {options.network}.md").write_text(text, encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument(
        "--network", choices=NETWORKS, default="squeezenet", help="which; EfficientNet-Lite1 needs timm"
    )
    parser.add_argument("--work", type=Path, default=Path("object-boxes"), help="folder for the results")
    parser.add_argument("--limit", type=int, help="photos, at most")
    parser.add_argument("--wide", action=argparse.BooleanOptionalAction, default=True, help="also with places=0.3")
    parser.add_argument(
        "--oracle", action="store_true", help="also with the best threshold of each photo, known from the object"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
