"""Do the maps point at the object? Traces, Grad-CAM, gradients and a fixed point, on labelled photos with boxes.

``python docs/evidence/object_pointing.py`` learns the weights of the trace on every second image, scores all methods on
the others, and writes the tables and the figure of ``object_pointing.md``. ``--network`` chooses the network.
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
from photos import (
    LITE1_INPUT,
    SQUEEZENET_INPUT,
    Photos,
    Preparation,
    add_data_option,
    load_lite1,
    load_photos,
    load_squeezenet,
    scores_of,
)
from results import markdown_table, percent
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm.auto import tqdm

from captum_paramsal import CNNFixations, DiscernibleNeurons, TraceWeights
from captum_paramsal.comparison import preset
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
    share_interval,
)
from captum_paramsal.viz import PALETTE, new_axes, to_png

LOG = logging.getLogger("object_pointing")


@dataclass(frozen=True)
class Subject:
    """A network of the study.

    Attributes:
        load: Reads it from the folder with the data.
        preparation: How it takes photos.
        last_maps: The module that returns its last feature maps, for Grad-CAM.
    """

    load: Callable[[Path], nn.Module]
    preparation: Preparation
    last_maps: str


NETWORKS = {
    "squeezenet": Subject(load_squeezenet, SQUEEZENET_INPUT, "features.12"),
    "efficientnet_lite1": Subject(load_lite1, LITE1_INPUT, "bn2"),
}


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


def by_layer(
    method: CNNFixations | DiscernibleNeurons, photos: Photos, predicted: Tensor, name: str, layers: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The pointing game with the places of a layer's selected neurons, each once, and how many these are."""
    maps: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for images, classes in batches(photos, predicted, name):
        selected = method.trace(images, classes).layers
        for layer in layers:
            neurons = selected[layer]
            places = torch.zeros(len(images), *neurons.size[1:])
            places[neurons.image, neurons.y, neurons.x] = 1
            maps[layer].append(places)
    found = {}
    for layer, parts in maps.items():
        places = torch.cat(parts)
        game = pointing_game(heat_map(interpolate(places[:, None], photos.size, mode="nearest")[:, 0]), photos.boxes)
        count = places.flatten(1).sum(dim=1).mean().item()
        found[layer] = {"hits": [game.rate, *game.interval], "places": count}
    return found


def layer_table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Hits in percent and mean number of places, one row a layer, by trace."""
    header = ["layer", *(cell for name in found for cell in (f"{name}: hits", "places"))]
    rows = []
    for layer in next(iter(found.values())):
        cells = [layer]
        for one in found.values():
            cells += [percent(one[layer]["hits"]), f"{one[layer]['places']:.1f}"]
        rows.append(cells)
    return markdown_table(header, rows)


def mapped(
    explain: Callable[[Tensor, Tensor], Tensor], photos: Photos, predicted: Tensor, name: str
) -> Iterator[tuple[str, Found]]:
    """A method of Captum: its map, and the box of the pixels above 15 % of the highest; maps of pixels also blurred."""
    maps = torch.cat([explain(images, classes).detach() for images, classes in batches(photos, predicted, name)])
    yield name, Found(pointing_game(maps, photos.boxes), box_of(maps.clamp(min=0)))
    if not name.startswith("Grad-CAM"):
        blurred = heat_map(maps)
        yield f"{name}, blurred", Found(pointing_game(blurred, photos.boxes), box_of(blurred))


def captum_methods(model: nn.Module, last_maps: str, steps: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Maps ``(N, H, W)`` of Captum's methods; Integrated Gradients only with steps."""
    grad_cam = LayerGradCam(model, model.get_submodule(last_maps))

    def cam(images: Tensor, classes: Tensor) -> Tensor:
        found = grad_cam.attribute(images, classes, relu_attributions=True)
        return interpolate(found, images.shape[-2:], mode="bilinear")[:, 0]

    weighted = preset("grad_cam_plus_plus", model)

    def plus_plus(images: Tensor, classes: Tensor) -> Tensor:
        return weighted(images, target=classes)[:, 0]

    return {"Grad-CAM": cam, "Grad-CAM++": plus_plus, **gradient_methods(model, steps)}


def gradient_methods(model: nn.Module, steps: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Those of them that ask for gradients of pixels."""
    saliency, integrated = Saliency(model), IntegratedGradients(model)

    def plain(images: Tensor, classes: Tensor) -> Tensor:
        return saliency.attribute(images.clone().requires_grad_(), classes).sum(dim=1)

    def path(images: Tensor, classes: Tensor) -> Tensor:
        found = integrated.attribute(images, target=classes, n_steps=steps, internal_batch_size=len(images))
        return found.float().abs().sum(dim=1)

    return {"Saliency": plain} | ({"Integrated Gradients": path} if steps else {})


def groups_of(photos: Photos, predicted: Tensor) -> dict[str, Tensor]:
    """The images that rates are given for."""
    return {
        "all": torch.ones(len(photos), dtype=torch.bool),
        "predicted right": predicted == photos.labels,
        "small boxes": has_small_boxes(photos.boxes, photos.size),
        "centre misses": misses_centre(photos.boxes, photos.size),
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


def scored(
    found: Found, photos: Photos, model: nn.Module, predicted: Tensor, *, confidence: bool = True
) -> dict[str, Any]:
    """Rates of one method in every group; without confidences, two passes for every photo are saved."""
    groups = groups_of(photos, predicted)
    result: dict[str, Any] = {
        "hits": {
            name: [found.game.where(group).rate, *found.game.where(group).interval] for name, group in groups.items()
        },
        "counts": {name: int(group.sum()) for name, group in groups.items()},
        "empty": {name: int((found.game.degenerate & group).sum()) for name, group in groups.items()},
    }
    if found.boxes is not None:
        overlap = iou(found.boxes, photos.boxes)
        result |= {
            "iou": overlap.mean().item(),
            "iou above 0.5": (overlap > 0.5).double().mean().item(),
            "area": area_share(found.boxes, photos.size).mean().item(),
        }
        if confidence:
            change: ConfidenceChange = increase_in_confidence(
                model, photos.images, found.boxes, predicted, internal_batch_size=50
            )
            result["increase"] = [change.share, *change.interval]
    return result


def empty_maps(found: Sequence[PointingHits], right: Sequence[Tensor]) -> list[float]:
    """How many of the photos that are predicted right have an empty map, of how many, and the share's interval."""
    empty = torch.cat([game.degenerate[places] for game, places in zip(found, right, strict=True)])
    return [int(empty.sum()), len(empty), *share_interval(empty)]


def empty_table(empty: dict[str, list[float]]) -> str:
    """One row a trace."""
    rows = [
        [name, f"{count:.0f} of {total:.0f}", f"{100 * low:.1f} to {100 * high:.1f}"]
        for name, (count, total, low, high) in empty.items()
    ]
    return markdown_table(["trace", "empty maps, predicted right", "95 % interval, %"], rows)


def table(results: dict[str, dict[str, Any]]) -> str:
    """The rates in percent, with 95 % intervals where all images count."""
    groups = list(next(iter(results.values()))["hits"])
    lines = [
        "| method | " + " | ".join(groups) + " | IoU | IoU > 0.5 | confidence rises | box area |",
        "|---" * (len(groups) + 5) + "|",
    ]
    for name, result in results.items():
        cells = [percent(one) for one in result["hits"].values()]
        if "iou" in result:
            cells += [
                f"{result['iou']:.2f}",
                f"{100 * result['iou above 0.5']:.1f}",
                percent(result["increase"]) if "increase" in result else "",
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


def every_method(
    model: nn.Module, photos: Photos, predicted: Tensor, learned: TraceWeights, options: argparse.Namespace
) -> dict[str, Found]:
    """What each method found on the photos that judge."""
    maps = captum_methods(model, NETWORKS[options.network].last_maps, options.steps)
    traces = {
        "CNN-Fixations": CNNFixations(model),
        "discernible neurons, equal weights": DiscernibleNeurons(model, TraceWeights(1.0, 1.0, 1.0)),
        "discernible neurons": DiscernibleNeurons(model),
        "discernible neurons, learned": DiscernibleNeurons(model, learned),
    }
    return {
        "the centre": Found(pointing_game_at(centre_point(photos.size), photos.boxes, photos.size), None),
        **{
            found_as: one
            for name, explain in maps.items()
            for found_as, one in mapped(explain, photos, predicted, name)
        },
        **{name: traced(method, photos, predicted, name) for name, method in traces.items()},
    }


def gaps_of(hits: dict[str, Tensor]) -> dict[str, tuple[float, float, float]]:
    """Paired differences of the traces with each other and with Grad-CAM."""
    ours = [name for name in hits if name.startswith("discernible")]
    pairs = [(name, rival) for name in ours for rival in ("CNN-Fixations", "Grad-CAM")]
    pairs += [("CNN-Fixations", "Grad-CAM")]
    return {f"{name} - {rival}": difference(hits[name], hits[rival]) for name, rival in pairs}


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn, score, and write ``object_pointing.json``, ``.md`` and ``.png`` to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    subject = NETWORKS[options.network]
    model = subject.load(options.data)
    every = load_photos(options.data / "imagenet_val900", options.limit, subject.preparation)
    learn, photos = every.every_second(0), every.every_second(1)
    usual, predicted = (scores_of(model, one.images).argmax(dim=1) for one in (learn, photos))
    search = DiscernibleNeurons(model).fit_weights(learn.images, learn.labels, learn.boxes, trials=options.trials)
    search.save(options.work / "weights.json")
    LOG.info("learned %s", search.weights)
    found = every_method(model, photos, predicted, search.weights, options)
    right = [usual == learn.labels, predicted == photos.labels]
    # Nothing was learned for these two, so that all photos count.
    plain = {"CNN-Fixations": CNNFixations(model), "discernible neurons": DiscernibleNeurons(model)}
    empty = {
        name: empty_maps([traced(method, learn, usual, f"{name}, other half").game, found[name].game], right)
        for name, method in plain.items()
    }
    layers = {
        name: by_layer(method, photos, predicted, f"{name}, by layer", options.layers)
        for name, method in plain.items()
        if options.layers
    }
    results = {
        name: scored(one, photos, model, predicted, confidence=options.confidence) for name, one in found.items()
    }
    areas, groups = area_share(photos.boxes, photos.size), groups_of(photos, predicted)
    random = {name: [areas[group].mean().item()] * 3 for name, group in groups.items()}
    results = {"a random pixel": {"hits": random}, **results}
    gaps = gaps_of({name: one.game.hits for name, one in found.items()})
    learned = {"weights": vars(search.weights), "means": {k: v.means for k, v in search.history.items()}}
    content = {"images": len(photos), "groups": {k: int(v.sum()) for k, v in groups.items()}, "learned": learned}
    differences = "\n".join(f"* {k}: {m:.1f} ({a:.1f} to {b:.1f})" for k, (m, a, b) in gaps.items())
    text = f"{table(results)}\n{differences}\n\n{empty_table(empty)}"
    if layers:
        text += f"\n{layer_table(layers)}"
    LOG.info("\n%s\n%s", content, text)
    content |= {"results": results, "differences": gaps, "empty": empty, "by layer": layers}
    dumped = json.dumps(content, indent=1)
    (options.work / "object_pointing.json").write_text(dumped + "\n", encoding="utf-8")
    (options.work / "object_pointing.md").write_text(text, encoding="utf-8")
    (options.work / "object_pointing.png").write_bytes(figure(results))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument(
        "--network", choices=NETWORKS, default="squeezenet", help="which; EfficientNet-Lite1 needs timm"
    )
    parser.add_argument("--work", type=Path, default=Path("object-pointing"), help="folder for the results")
    parser.add_argument("--limit", type=int, help="images, at most")
    parser.add_argument("--trials", type=int, default=1000, help="trials of the bandit for each weight")
    parser.add_argument("--steps", type=int, default=50, help="steps of Integrated Gradients; 0 leaves them out")
    parser.add_argument("--layers", nargs="*", default=[], help="layers whose selected places play too; input is one")
    parser.add_argument(
        "--confidence", action=argparse.BooleanOptionalAction, default=True, help="measure how confidences change"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
