"""The methods on a trained vision transformer: attention heads cured, planted objects found, channels of classes.

``python docs/evidence vision_transformer`` trains the small transformer of ``small_transformer.py`` on CIFAR-10 (an
hour on one core), knocks out and fine-tunes its heads in the order of several scores, asks the traces for planted
objects, and takes the channels of its last tokens that each class relies on. Tables and figures of
``vision_transformer.md`` go to the work folder; what is finished is not made again.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cifar10 import CLASSES, any_of, cifar10_pictures
from object_pointing import gradient_methods
from photos import add_data_option, scores_of
from pot_saliency import ACTIONS, curve
from pot_saliency_cases import Case, profiles_of, rankings_of, reference_of
from pot_saliency_tables import curve_table, difference_table, figure
from results import fewer_colours, markdown_table, with_interval
from small_transformer import DEPTH, HEADS, SIDE, Schedule, trained
from torch import Tensor, nn
from torch.nn.functional import interpolate

from captum_paramsal import CNNFixations, DiscernibleNeurons, ModelDoctor
from captum_paramsal.functional.fixations import heat_map
from captum_paramsal.metrics import area_share, centre_point, pointing_game, pointing_game_at
from captum_paramsal.repair import ControlImages
from captum_paramsal.viz import class_channel_plot, to_png
from captum_paramsal.viz.style import new_panels

LOG = logging.getLogger("vision_transformer")
PARTS = ("accuracy", "heads", "planted", "classes")
ATTENTION = "encoder.layers.encoder_layer_*.self_attention"
LAST = f"encoder.layers.encoder_layer_{DEPTH - 1}.self_attention"


@dataclass(frozen=True)
class Pictures:
    """Images ``(N, 3, 32, 32)``, their labels, and what the network takes them for."""

    images: Tensor
    labels: Tensor
    predicted: Tensor

    @property
    def right(self) -> Tensor:
        """Which ones the network gets right, ``(N,)`` bool."""
        return self.predicted == self.labels


def pictures(model: nn.Module, data: Path, start: int, count: int) -> Pictures:
    """Some images of the test set, which are no others' for another start."""
    images, labels = cifar10_pictures(data, "test", any_of(10_000)[start : start + count])
    return Pictures(images, labels, scores_of(model, images).argmax(dim=1))


def accuracy(model: nn.Module, options: argparse.Namespace) -> None:
    """Share of the whole test set that is classified right."""
    every = pictures(model, options.data, 0, 10_000)
    parameters = sum(one.numel() for one in model.parameters())
    text = f"{parameters:,} parameters; {100 * every.right.double().mean():.1f} % of the 10,000 test images right\n"
    (options.work / "accuracy.md").write_text(text, "utf-8")
    LOG.info(text)


def heads_case(model: nn.Module, options: argparse.Namespace) -> Case:
    """Mistakes, with the heads of all blocks ranked: queries, keys and values are units of their own."""
    usual = pictures(model, options.data, 0, options.reference)
    others = pictures(model, options.data, options.reference, options.judged)
    place = options.work / "heads"
    reference = reference_of(place, model, usual.images, usual.labels, options.tail, layers=[ATTENTION])
    chosen = (~others.right).nonzero()[: options.mistakes, 0]
    images, labels = others.images[chosen], others.labels[chosen]
    rows = profiles_of(place, model, reference.filters, images, labels)
    return Case(
        "heads",
        model,
        images,
        labels,
        ControlImages(others.images[others.right], others.labels[others.right], options.controls),
        reference,
        rankings_of(model, rows, reference, (LAST,)),
    )


def heads(model: nn.Module, options: argparse.Namespace) -> None:
    """Half of the heads knocked out, and half of them moved by one step."""
    case, most = heads_case(model, options), 3 * HEADS * DEPTH // 2
    arms = [arm for arm in case.rankings if arm != "POT, exponential"]
    curves = {
        action: {arm: curve(case, action, arm, case.rankings[arm], options, most=most) for arm in arms}
        for action in ACTIONS
    }
    parts = [f"# {len(case.filters)} heads, {len(case.images)} mistakes, reference of {case.reference.count}\n"]
    for action, found in curves.items():
        parts += [f"## {action}, {most} heads\n", curve_table(found), difference_table(found)]
    parts += ["## which heads are salient\n", kinds_table(case)]
    (options.work / "heads.md").write_text("\n".join(parts), "utf-8")
    (options.work / "vision_transformer_heads.png").write_bytes(figure(curves))


def kinds_table(case: Case, top: int = 5) -> str:
    """Shares of queries, keys and values, and of each block, among the most salient heads of a mistake."""
    # As in `encoder.layers.encoder_layer_0.self_attention.q[head 2]`, whatever stands before.
    names = [str(item).partition("[head")[0][-1] for item in case.filters]
    blocks = [case.filters.layers.index(item.layer) for item in case.filters]
    rows = []
    for arm in ("POT, mle", "z-score", "raw profile"):
        best = case.rankings[arm].topk(top, dim=1).indices
        kinds = [torch.tensor([one == kind for one in names])[best].double().mean(dim=1) for kind in "qkv"]
        depths = [(torch.tensor(blocks)[best] == block).double().mean(dim=1) for block in range(DEPTH)]
        rows.append([arm, *(with_interval(share) for share in (*kinds, *depths))])
    return markdown_table(
        [f"top {top} by", "queries", "keys", "values", *(f"block {block}" for block in range(DEPTH))], rows
    )


def planted(model: nn.Module, options: argparse.Namespace) -> None:
    """Objects at half their size in a corner of a plain image, recognised there: does the map point at them?"""
    source = pictures(model, options.data, 0, options.planted)
    images, boxes = planted_scenes(source.images)
    found = scores_of(model, images).argmax(dim=1) == source.labels
    images, boxes, labels = images[found], boxes[found], source.labels[found]
    rows = [["recognised", f"{int(found.sum())} of {len(found)}", "", ""]]
    centre = pointing_game_at(centre_point((SIDE, SIDE)).expand(len(images), 2), boxes, (SIDE, SIDE))
    rows.append(["random pixel", f"{100 * area_share(boxes, (SIDE, SIDE)).mean():.1f}", "", ""])
    rows.append(["centre", with_interval(centre.hits.double()), "", ""])
    found_maps = maps_of(model, images, labels)
    for name, (maps, empty) in found_maps.items():
        hits = pointing_game(maps, boxes).hits.double()
        inside = mass_inside(maps, boxes)
        rows.append([name, with_interval(hits), with_interval(inside), f"{int(empty.sum())}"])
    header = ["map of", "points at the object, %", "mass on the object, %", "empty maps"]
    (options.work / "planted.md").write_text(markdown_table(header, rows), "utf-8")
    (options.work / "vision_transformer_planted.png").write_bytes(
        fewer_colours(planted_figure(images, {name: maps for name, (maps, _) in found_maps.items()}))
    )


def planted_scenes(sources: Tensor) -> tuple[Tensor, Tensor]:
    """Each image at half its size in one corner after the other, the rest in its mean colour; and its box."""
    half = SIDE // 2
    small = interpolate(sources, (half, half), mode="area")
    scenes = sources.mean(dim=(2, 3), keepdim=True).expand_as(sources).clone()
    boxes = []
    for number, picture in enumerate(small):
        top, left = number // 2 % 2 * half, number % 2 * half
        scenes[number, :, top : top + half, left : left + half] = picture
        boxes.append([left, top, left + half, top + half])
    return scenes, torch.tensor(boxes, dtype=torch.float64)


def maps_of(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Maps ``(N, H, W)`` of every method, and which of them are empty."""

    def traced(method: CNNFixations | DiscernibleNeurons) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda some, classes: method.trace(some, classes).heatmap()

    traces = {"discernible neurons": traced(DiscernibleNeurons(model)), "CNN-Fixations": traced(CNNFixations(model))}
    found = {}
    for name, method in {**traces, **gradient_methods(model, steps=32)}.items():
        LOG.info("maps of %s", name)
        parts = zip(images.split(25), labels.split(25), strict=True)
        maps = torch.cat([method(some, classes).detach() for some, classes in parts])
        blurred = maps if name in traces else heat_map(maps)
        found[name] = blurred, (maps == 0).flatten(1).all(dim=1)
    return found


def mass_inside(maps: Tensor, boxes: Tensor) -> Tensor:
    """Share of each map that lies on the object, ``(N,)``; 0 of an empty map."""
    shares = []
    for values, (left, top, right, bottom) in zip(maps.double(), boxes.long().tolist(), strict=True):
        total = values.sum()
        shares.append(values[top:bottom, left:right].sum() / total if total > 0 else total)
    return torch.stack(shares)


def planted_figure(images: Tensor, maps: dict[str, Tensor], count: int = 4) -> bytes:
    """The first scenes beside their maps."""
    axes = np.array(new_panels(1.6 * (1 + len(maps)), 1.6 * count, count, 1 + len(maps))).reshape(count, -1)
    for row in range(count):
        picture = images[row] - images[row].min()
        axes[row, 0].imshow((picture / picture.max()).permute(1, 2, 0))
        for column, (name, values) in enumerate(maps.items(), start=1):
            axes[row, column].imshow(values[row], cmap="viridis")
            if row == 0:
                axes[row, column].set_title(name, fontsize=8)
        for axis in axes[row]:
            axis.axis("off")
    return to_png(axes[0, 0].figure)


def classes(model: nn.Module, options: argparse.Namespace) -> None:
    """Model Doctor's map of classes and channels, and what a class loses without the channels that it relies on."""
    usual = pictures(model, options.data, 0, options.reference)
    judged = pictures(model, options.data, options.reference, options.judged)
    doctor = ModelDoctor(model, multiply_by_inputs=True)
    batches = list(zip(usual.images.split(100), usual.labels.split(100), strict=True))
    diagnosis = doctor.fit(batches, show_progress=False)
    axes = class_channel_plot(diagnosis.normalized, names=CLASSES)
    (options.work / "vision_transformer_classes.png").write_bytes(fewer_colours(to_png(axes.figure)))
    chosen = diagnosis.normalized.topk(options.channels, dim=1).indices
    drawn = torch.rand(diagnosis.normalized.shape, generator=torch.Generator().manual_seed(0))
    rows = []
    for name, channels in (("relied on", chosen), ("at random", drawn.topk(options.channels, dim=1).indices)):
        own, rest = losses_without(model, doctor.layer_name, channels, judged)
        rows.append([name, with_interval(own), with_interval(rest)])
    header = [f"{options.channels} channels", "own class loses, points", "other classes lose, points"]
    other = ~torch.eye(len(CLASSES), dtype=torch.bool)
    overlap, chance = (pairs[other].nanmean() for pairs in (diagnosis.overlap(), diagnosis.overlap_by_chance()))
    shared = f"classes share {100 * overlap:.0f} % of their channels, by chance {100 * chance:.0f} %"
    text = f"layer {doctor.layer_name}; {shared}"
    (options.work / "classes.md").write_text(f"{text}\n\n{markdown_table(header, rows)}", "utf-8")


def losses_without(model: nn.Module, layer: str, channels: Tensor, judged: Pictures) -> tuple[Tensor, Tensor]:
    """What share of its right images each class loses while some channels are zero, ``(classes,)``; and the others.

    Args:
        model: The network.
        layer: Whose output ``(N, tokens, K)`` loses channels.
        channels: For each class ``(classes, k)``.
        judged: Images.
    """
    images, labels = judged.images[judged.right], judged.labels[judged.right]
    own, rest = [], []
    for label, some in enumerate(channels):

        def without(_: nn.Module, __: object, output: Tensor, some: Tensor = some) -> Tensor:
            return output.index_fill(-1, some, 0)

        handle = model.get_submodule(layer).register_forward_hook(without)
        lost = scores_of(model, images).argmax(dim=1) != labels
        handle.remove()
        own.append(lost[labels == label].double().mean())
        rest.append(lost[labels != label].double().mean())
    return torch.stack(own), torch.stack(rest)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the requested parts."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    schedule = Schedule(epochs=options.epochs, compiled=options.compiled)
    model = trained(options.work / "small_transformer.safetensors", options.data, schedule)
    parts = {"accuracy": accuracy, "heads": heads, "planted": planted, "classes": classes}
    for part in options.parts:
        LOG.info("part %s", part)
        parts[part](model, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument(
        "--work", type=Path, default=Path("vision-transformer"), help="folder for everything that is made"
    )
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--epochs", type=int, default=15, help="of the training")
    parser.add_argument("--compiled", action="store_true", help="compile the steps of the training")
    parser.add_argument("--reference", type=int, default=2000, help="test images for the reference and the diagnosis")
    parser.add_argument("--judged", type=int, default=2500, help="other test images, whose mistakes are looked at")
    parser.add_argument("--mistakes", type=int, default=200, help="mistakes whose heads are changed, at most")
    parser.add_argument("--controls", type=int, default=1, help="correct images per mistake to try its change on")
    parser.add_argument("--tail", type=float, default=0.10, help="share of the reference set above POT's thresholds")
    parser.add_argument("--planted", type=int, default=500, help="objects that are planted")
    parser.add_argument("--channels", type=int, default=8, help="channels that a class is left without")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
