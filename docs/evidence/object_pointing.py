"""Do the maps point at the object? Traces, Grad-CAM, gradients and a fixed point, on labelled photos with boxes.

``python docs/evidence/object_pointing.py`` learns the weights of the trace on every second image, scores all methods on
the others, and writes the tables and the figure of ``object_pointing.md``.
"""

import argparse
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Saliency
from photos import SIDE, Photos, add_data_option, load_photos, load_squeezenet, scores_of
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm.auto import tqdm

from captum_paramsal import CNNFixations, DiscernibleNeurons, TraceWeights
from captum_paramsal.functional.fixations import heat_map
from captum_paramsal.metrics import (
    ConfidenceChange,
    PointingHits,
    area_share,
    box_of,
    centre_point,
    has_small_boxes,
    increase_in_confidence,
    iou,
    misses_centre,
    pointing_game,
    pointing_game_at,
)
from captum_paramsal.viz import PALETTE, new_axes, to_png

LOG = logging.getLogger("object_pointing")


@dataclass(frozen=True)
class Found:
    """What a method found on every photo: the pointing game, and a box each."""

    game: PointingHits
    boxes: Tensor | None


def batches(photos: Photos, predicted: Tensor, name: str, size: int = 25) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and predicted classes."""
    yield from tqdm(list(zip(photos.images.split(size), predicted.split(size), strict=True)), desc=name)


def traced(method: CNNFixations | DiscernibleNeurons, photos: Photos, predicted: Tensor, name: str) -> Found:
    """Heat map and box of the trace."""
    maps, boxes = [], []
    for images, classes in batches(photos, predicted, name):
        trace = method.trace(images, classes)
        maps.append(trace.heatmap())
        boxes.append(trace.boxes())
    return Found(pointing_game(torch.cat(maps), photos.boxes), torch.cat(boxes))


def mapped(
    explain: Callable[[Tensor, Tensor], Tensor], photos: Photos, predicted: Tensor, name: str
) -> Iterator[tuple[str, Found]]:
    """A method of Captum: its map, and the box of the pixels above 15 % of the highest; maps of pixels also blurred."""
    maps = torch.cat([explain(images, classes).detach() for images, classes in batches(photos, predicted, name)])
    yield name, Found(pointing_game(maps, photos.boxes), box_of(maps.clamp(min=0)))
    if name != "Grad-CAM":
        blurred = heat_map(maps)
        yield f"{name}, blurred", Found(pointing_game(blurred, photos.boxes), box_of(blurred))


def captum_methods(model: nn.Module, steps: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Maps ``(N, 227, 227)`` of Captum's methods."""
    grad_cam, saliency = LayerGradCam(model, model.features[12]), Saliency(model)
    integrated = IntegratedGradients(model)

    def cam(images: Tensor, classes: Tensor) -> Tensor:
        found = grad_cam.attribute(images, classes, relu_attributions=True)
        return interpolate(found, (SIDE, SIDE), mode="bilinear")[:, 0]

    def plain(images: Tensor, classes: Tensor) -> Tensor:
        return saliency.attribute(images.clone().requires_grad_(), classes).sum(dim=1)

    def path(images: Tensor, classes: Tensor) -> Tensor:
        found = integrated.attribute(images, target=classes, n_steps=steps, internal_batch_size=len(images))
        return found.float().abs().sum(dim=1)

    return {
        "Grad-CAM": cam,
        "Saliency": plain,
        "Integrated Gradients": path,
    }


def groups_of(photos: Photos, predicted: Tensor) -> dict[str, Tensor]:
    """The images that rates are given for."""
    size = (SIDE, SIDE)
    return {
        "all": torch.ones(len(photos), dtype=torch.bool),
        "predicted right": predicted == photos.labels,
        "small boxes": has_small_boxes(photos.boxes, size),
        "centre misses": misses_centre(photos.boxes, size),
    }


def difference(one: Tensor, other: Tensor, resamples: int = 2000) -> tuple[float, float, float]:
    """Mean paired difference of two rows of hits in points, and its 95 % bootstrap interval."""
    gap = one.double() - other.double()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack(
        [gap[torch.randint(len(gap), (len(gap),), generator=generator)].mean() for _ in range(resamples)]
    )
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return 100 * gap.mean().item(), 100 * low, 100 * high


def scored(found: Found, photos: Photos, model: nn.Module, predicted: Tensor) -> dict[str, Any]:
    """Rates of one method in every group."""
    groups = groups_of(photos, predicted)
    result: dict[str, Any] = {
        "hits": {
            name: [found.game.where(group).rate, *found.game.where(group).interval] for name, group in groups.items()
        },
        "counts": {name: int(group.sum()) for name, group in groups.items()},
        "degenerate": int(found.game.degenerate.sum()),
    }
    if found.boxes is not None:
        overlap = iou(found.boxes, photos.boxes)
        change: ConfidenceChange = increase_in_confidence(
            model, photos.images, found.boxes, predicted, internal_batch_size=50
        )
        result |= {
            "iou": overlap.mean().item(),
            "iou above 0.5": (overlap > 0.5).double().mean().item(),
            "increase": [change.share, *change.interval],
            "area": change.area_share.mean().item(),
        }
    return result


def table(results: dict[str, dict[str, Any]]) -> str:
    """The rates in percent, with 95 % intervals where all images count."""
    groups = list(next(iter(results.values()))["hits"])
    lines = [
        "| method | " + " | ".join(groups) + " | IoU | IoU > 0.5 | confidence rises | box area |",
        "|---" * (len(groups) + 5) + "|",
    ]
    for name, result in results.items():
        cells = [
            f"{100 * rate:.1f} ({100 * low:.1f} to {100 * high:.1f})" for rate, low, high in result["hits"].values()
        ]
        if "iou" in result:
            rate, low, high = result["increase"]
            cells += [
                f"{result['iou']:.2f}",
                f"{100 * result['iou above 0.5']:.1f}",
                f"{100 * rate:.1f} ({100 * low:.1f} to {100 * high:.1f})",
                f"{100 * result['area']:.0f}",
            ]
        else:
            cells += [""] * 4
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(results: dict[str, dict[str, Any]]) -> bytes:
    """Hit rates with intervals, one row a method, one colour a group, as a PNG."""
    axes = new_axes(8.0, 0.52 * len(results) + 1.0)
    groups = list(next(iter(results.values()))["hits"])
    for number, group in enumerate(groups):
        rates = 100 * np.array([result["hits"][group] for result in results.values()])
        y = -np.arange(len(results)) - 0.18 * (number - (len(groups) - 1) / 2)
        spread = np.clip(np.stack([rates[:, 0] - rates[:, 1], rates[:, 2] - rates[:, 0]]), 0, None)
        axes.errorbar(rates[:, 0], y, xerr=spread, fmt="o", ms=4, lw=1, color=PALETTE[number], label=group)
    axes.set_yticks(-np.arange(len(results)), list(results))
    axes.set_xlabel("hits in the pointing game (%)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(groups))
    return to_png(axes, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn, score, and write ``object_pointing.json``, ``.md`` and ``.png`` to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    model = load_squeezenet(options.data)
    every = load_photos(options.data / "imagenet_val900", options.limit)
    learn, photos = every.every_second(0), every.every_second(1)
    predicted = scores_of(model, photos.images).argmax(dim=1)
    neurons = DiscernibleNeurons(model)
    search = neurons.fit_weights(learn.images, learn.labels, learn.boxes, trials=options.trials)
    search.save(options.work / "weights.json")
    LOG.info("learned %s", search.weights)
    found = {
        "a random pixel": None,
        "the centre": Found(pointing_game_at(centre_point((SIDE, SIDE)), photos.boxes, (SIDE, SIDE)), None),
        **{
            found_as: one
            for name, explain in captum_methods(model, options.steps).items()
            for found_as, one in mapped(explain, photos, predicted, name)
        },
        "CNN-Fixations": traced(CNNFixations(model), photos, predicted, "CNN-Fixations"),
        "discernible neurons, equal weights": traced(
            DiscernibleNeurons(model, TraceWeights(1.0, 1.0, 1.0)), photos, predicted, "equal weights"
        ),
        "discernible neurons": traced(neurons, photos, predicted, "default weights"),
        "discernible neurons, learned": traced(
            DiscernibleNeurons(model, search.weights), photos, predicted, "learned weights"
        ),
    }
    results = {name: scored(one, photos, model, predicted) for name, one in found.items() if one is not None}
    areas, groups = area_share(photos.boxes, (SIDE, SIDE)), groups_of(photos, predicted)
    random = {name: [areas[group].mean().item()] * 3 for name, group in groups.items()}
    results = {"a random pixel": {"hits": random}, **results}
    hits = {name: one.game.hits for name, one in found.items() if one is not None}
    ours = [name for name in hits if name.startswith("discernible")]
    gaps = {
        f"{name} - {rival}": difference(hits[name], hits[rival])
        for name in ours
        for rival in ("CNN-Fixations", "Grad-CAM")
    }
    gaps["CNN-Fixations - Grad-CAM"] = difference(hits["CNN-Fixations"], hits["Grad-CAM"])
    learned = {"weights": vars(search.weights), "means": {k: v.means for k, v in search.history.items()}}
    content = {"images": len(photos), "groups": {k: int(v.sum()) for k, v in groups.items()}, "learned": learned}
    text = table(results) + "\n" + "\n".join(f"* {k}: {m:.1f} ({a:.1f} to {b:.1f})" for k, (m, a, b) in gaps.items())
    LOG.info("\n%s\n%s", content, text)
    dumped = json.dumps({**content, "results": results, "differences": gaps}, indent=1)
    (options.work / "object_pointing.json").write_text(dumped + "\n", encoding="utf-8")
    (options.work / "object_pointing.md").write_text(text + "\n", encoding="utf-8")
    (options.work / "object_pointing.png").write_bytes(figure(results))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("object-pointing"), help="folder for the results")
    parser.add_argument("--limit", type=int, help="images, at most")
    parser.add_argument("--trials", type=int, default=1000, help="trials of the bandit for each weight")
    parser.add_argument("--steps", type=int, default=50, help="steps of the integrated gradients")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
