"""What do maps and traces show of adversarial images? The object still, or what the network took it for?

``python docs/evidence/adversarial.py`` attacks photos that the network gets right with Captum's FGSM and PGD, explains
the true and the reached class before and after, and writes the tables and the figure of ``adversarial.md``.
``--network`` chooses the network.
"""

import argparse
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from captum.attr import LayerGradCam
from captum.robust import FGSM, PGD
from object_pointing import NETWORKS
from photos import Photos, Preparation, add_data_option, load_photos, scores_of
from results import Results, markdown_table, percent
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, interpolate
from tqdm.auto import tqdm

from captum_paramsal import CNNFixations, DiscernibleNeurons, Trace
from captum_paramsal.metrics import pointing_game
from captum_paramsal.stats import bootstrap_means
from captum_paramsal.viz import PALETTE, new_axes, to_png

LOG = logging.getLogger("adversarial")

CONDITIONS = {
    "clean, true class": ("clean", "true"),
    "noise of the same size, true class": ("noise", "true"),
    "attacked, true class": ("attacked", "true"),
    "attacked, class reached": ("attacked", "reached"),
    "clean, class reached": ("clean", "reached"),
}
"""Which images are explained for which class; the first is what the others are compared with."""

BATCH = 20


class Unit(nn.Module):
    """The network for pixels in [0, 1], in which attacks have their bounds."""

    def __init__(self, model: nn.Module, preparation: Preparation) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", preparation.mean[:, None, None])
        self.register_buffer("std", preparation.std[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Class scores of ``(N, 3, H, W)``."""
        scores: Tensor = self.model((pixels - self.mean) / self.std)
        return scores


def attacked(unit: nn.Module, pixels: Tensor, labels: Tensor, attack: str, radius: float) -> Tensor:
    """Pixels that a step of FGSM, or ten steps of PGD, have led away from their labels."""
    loss = nn.CrossEntropyLoss(reduction="none")
    with warnings.catch_warnings():
        # Captum sets what its own steps need, and says so each time.
        warnings.filterwarnings("ignore", message="Input Tensor", category=UserWarning)
        if attack == "FGSM":
            method = FGSM(unit, loss, lower_bound=0, upper_bound=1)
            return method.perturb(pixels, epsilon=radius, target=labels).detach()
        steps = PGD(unit, loss, lower_bound=0, upper_bound=1)
        return steps.perturb(pixels, radius=radius, step_size=radius / 4, step_num=10, target=labels).detach()


def versions(
    model: nn.Module, photos: Photos, preparation: Preparation, attack: str, radius: float
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[Tensor], int]:
    """Images, clean, with noise and attacked, of the photos that the attack turned and the noise did not.

    Returns:
        Images ``(n, 3, H, W)`` by version, classes ``(n,)`` by name, the objects' boxes, and how many were turned.
    """
    unit = Unit(model, preparation).eval()
    pixels = photos.images * unit.std + unit.mean
    parts = zip(pixels.split(BATCH), photos.labels.split(BATCH), strict=True)
    moved = torch.cat([attacked(unit, part, labels, attack, radius) for part, labels in tqdm(list(parts), attack)])
    generator = torch.Generator().manual_seed(0)
    signs = 2 * torch.randint(2, pixels.shape, generator=generator) - 1
    images = {"clean": pixels, "noise": (pixels + radius * signs).clamp(0, 1), "attacked": moved}
    images = {name: (version - unit.mean) / unit.std for name, version in images.items()}
    reached, under_noise = (scores_of(model, images[name]).argmax(dim=1) for name in ("attacked", "noise"))
    # Noise that turns the answer is no control.
    turned = reached != photos.labels
    kept = (turned & (under_noise == photos.labels)).nonzero()[:, 0]
    classes = {"true": photos.labels[kept], "reached": reached[kept]}
    return {name: version[kept] for name, version in images.items()}, classes, photos[kept].boxes, int(turned.sum())


def methods(model: nn.Module, last_maps: str) -> dict[str, Callable[[Tensor, Tensor], Tensor | Trace]]:
    """Maps ``(N, H, W)``, or traces, of images and classes."""
    grad_cam = LayerGradCam(model, model.get_submodule(last_maps))

    def cam(images: Tensor, classes: Tensor) -> Tensor:
        maps = grad_cam.attribute(images, classes, relu_attributions=True)
        return interpolate(maps, images.shape[-2:], mode="bilinear")[:, 0].detach()

    return {
        "Grad-CAM": cam,
        "CNN-Fixations": CNNFixations(model).trace,
        "discernible neurons": DiscernibleNeurons(model).trace,
    }


def explained(
    explain: Callable[[Tensor, Tensor], Tensor | Trace], images: Tensor, classes: Tensor, name: str
) -> Iterator[Tensor | Trace]:
    """What the method gives, batch by batch."""
    for part, labels in tqdm(list(zip(images.split(BATCH), classes.split(BATCH), strict=True)), desc=name):
        yield explain(part, labels)


def compared(
    explain: Callable[[Tensor, Tensor], Tensor | Trace],
    images: Mapping[str, Tensor],
    classes: Mapping[str, Tensor],
    boxes: Sequence[Tensor],
    name: str,
) -> dict[str, Any]:
    """Hits on the object, likeness to the first condition's map and, of traces, overlaps by layer, by condition."""
    first: Tensor | None = None
    first_traces: list[Trace] = []
    result: dict[str, Any] = {}
    for condition, (version, labels) in CONDITIONS.items():
        given = list(explained(explain, images[version], classes[labels], f"{name}, {condition}"))
        traces = [one for one in given if isinstance(one, Trace)]
        maps = torch.cat([one.heatmap() if isinstance(one, Trace) else one for one in given])
        first = maps if first is None else first
        first_traces = first_traces or traces
        alike = cosine_similarity(maps.flatten(1).double(), first.flatten(1).double())
        result[condition] = {
            "hits": pointing_game(maps, boxes).hits.double().tolist(),
            "likeness": alike.tolist(),
            "empty": (maps.flatten(1).amax(dim=1) <= 0).double().tolist(),
        }
        if traces:
            parts = [new.overlaps(old) for new, old in zip(traces, first_traces, strict=True)]
            result[condition]["overlaps"] = {
                layer: torch.cat([part[layer] for part in parts]).tolist() for layer in parts[0]
            }
    return result


def _mean(values: Sequence[float]) -> list[float]:
    """Mean and 95 % bootstrap interval, without values that are not there."""
    return bootstrap_means(torch.tensor(values, dtype=torch.float64)[:, None])[:, 0].tolist()


def tables(found: Mapping[str, Any]) -> str:
    """Hits and likeness by condition, and paired differences that the study asks about."""
    names = list(found)
    rows = [
        [condition, *(percent(_mean(found[name][condition][key])) for name in names)]
        for key in ("hits", "likeness")
        for condition in CONDITIONS
    ]
    half = len(CONDITIONS)
    text = "hits\n\n" + markdown_table(["", *names], rows[:half])
    text += "\nlikeness\n\n" + markdown_table(["", *names], rows[half:]) + "\n"
    for after, before in (
        ("attacked, class reached", "clean, true class"),
        ("attacked, true class", "clean, true class"),
        ("attacked, class reached", "clean, class reached"),
    ):
        gaps = []
        for name in names:
            pairs = zip(found[name][after]["hits"], found[name][before]["hits"], strict=True)
            gaps.append(f"{name} {percent(_mean([one - other for one, other in pairs]), signed=True)}")
        text += f"* {after} - {before}: {'; '.join(gaps)}\n"
    return text


def overlap_table(conditions: Mapping[str, Any]) -> str:
    """Mean overlaps with the clean image's trace, one row each for about ten layers from end to end."""
    others = list(CONDITIONS)[1:]
    layers = list(conditions[others[0]]["overlaps"])
    layers = [*layers[: -1 : -(-len(layers) // 10)], layers[-1]]
    rows = [[layer, *(percent(_mean(conditions[other]["overlaps"][layer])) for other in others)] for layer in layers]
    return markdown_table(["layer", *others], rows)


def figure(conditions: Mapping[str, Any]) -> bytes:
    """Overlaps by layer with their intervals, one line a condition, as a PNG."""
    axes = new_axes(8.0, 3.6)
    others = list(CONDITIONS)[1:]
    layers = list(conditions[others[0]]["overlaps"])
    for number, other in enumerate(others):
        rows = 100 * torch.tensor([_mean(conditions[other]["overlaps"][layer]) for layer in layers])
        spread = torch.stack([rows[:, 0] - rows[:, 1], rows[:, 2] - rows[:, 0]]).clamp(min=0)
        places = torch.arange(len(layers)) + 0.1 * (number - 1.5)
        axes.errorbar(places, rows[:, 0], yerr=spread, fmt="o-", ms=3, lw=1, color=PALETTE[number], label=other)
    axes.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=7)
    axes.set_ylabel("neurons shared with the\nclean image's trace (%)")
    axes.legend(fontsize=8)
    return to_png(axes, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Attack, explain, and write ``adversarial.json``, ``.md`` and ``.png`` to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    subject = NETWORKS[options.network]
    model = subject.load(options.data)
    photos = load_photos(options.data / "imagenet_val900", None, subject.preparation).every_second(1)
    right = scores_of(model, photos.images).argmax(dim=1) == photos.labels
    photos = photos[right.nonzero()[: options.limit, 0]]
    results = Results(options.work / "adversarial.json")
    text = ""
    for attack, radius in (("FGSM", 4 / 255), ("PGD", 2 / 255)):
        images, classes, boxes, turned = versions(model, photos, subject.preparation, attack, radius)
        found = {
            name: results.once(
                f"{attack}, {name}",
                partial(compared, explain, images, classes, boxes, f"{attack}, {name}"),
            )
            for name, explain in methods(model, subject.last_maps).items()
        }
        text += f"## {attack}: {turned} of {len(photos)} turned, {len(classes['true'])} explained\n\n"
        text += tables(found) + "\n"
        for name in ("CNN-Fixations", "discernible neurons"):
            text += f"{name}\n\n{overlap_table(found[name])}\n"
        file = options.work / f"adversarial_{attack.lower()}.png"
        file.write_bytes(figure(found["discernible neurons"]))
    (options.work / "adversarial.md").write_text(text, encoding="utf-8")
    LOG.info("\n%s", text)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument(
        "--network", choices=NETWORKS, default="squeezenet", help="which; EfficientNet-Lite1 needs timm"
    )
    parser.add_argument("--work", type=Path, default=Path("adversarial"), help="folder for the results")
    parser.add_argument("--limit", type=int, default=200, help="photos, at most")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
