"""Draw the picture of the README: a real photo that a real network gets wrong, and why.

``PARAMSAL_DATA=folder python docs/readme_picture.py`` finds SqueezeNet's weights in that folder, as
``models/squeezenet1_1.safetensors``, and labelled photos for the reference in its ``imagenet_val900``. The photo comes
with scikit-image: a Falcon 9 on its launch pad, by SpaceX, in the public domain.
"""

import argparse
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import skimage.data
import torch
from captum.attr import IntegratedGradients, LayerGradCam
from matplotlib.axes import Axes
from pictures import small_png
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from captum_paramsal import DiscernibleNeurons, InputSpaceSaliency, ModelDoctor, ParameterSaliency, Reference
from captum_paramsal.metrics import InputMaps, per_pixel
from captum_paramsal.sources import LabelledPhotos, class_names_of, load_model, preprocessing_of
from captum_paramsal.viz import INK, PALETTE, new_axes, pixel_plot, signed_overlay

LOG = logging.getLogger("readme_picture")
NAME, TITLE = "squeezenet1_1", "SqueezeNet"
TRUE = 657  # missile, the class that ImageNet has for rockets
SHOWN = 8
SIZE = (8.3, 5.92)  # inches; a hundred pixels of a page each
TOP, SIDE, GAP = 0.44, 1.27, 0.05
PALE = "#5b626b"


@dataclass(frozen=True)
class Seen:
    """What the network makes of the photo.

    Attributes:
        picture: What it sees, ``(3, H, W)`` in [0, 1].
        classes: The class that it says, and the true one.
        names: Of these classes.
        shares: Their probabilities.
        maps: For each method one map ``(H, W)`` of each class.
        filters: The most salient filters for the true class, with their z-scores.
        count: How many filters there are.
        pixels: What drives the most salient ones, ``(3, H, W)``.
    """

    picture: Tensor
    classes: Tensor
    names: tuple[str, ...]
    shares: tuple[float, ...]
    maps: dict[str, Tensor]
    filters: dict[str, float]
    count: int
    pixels: Tensor


def look(data: Path, reference_file: Path | None) -> Seen:
    """Run the network and every method."""
    weights = data / "models" / f"{NAME}.safetensors"
    model, prepared = load_model(NAME, weights), preprocessing_of(NAME, weights)
    picture = prepared.picture(Image.fromarray(skimage.data.rocket()))
    inputs = prepared.tensor(picture)[None]
    with torch.no_grad():
        shares = model(inputs).softmax(dim=1)[0]
    classes = torch.tensor([int(shares.argmax()), TRUE])
    saliency = ParameterSaliency(model, reference_of(model, data, reference_file))
    scores = saliency.attribute(inputs, target=TRUE)[0]
    top = saliency.filters.top(scores[None], k=SHOWN)[0]
    names = class_names_of(NAME, model)
    return Seen(
        picture=torch.tensor(list(picture.tobytes())).view(*picture.size[::-1], 3).permute(2, 0, 1) / 255,
        classes=classes,
        names=tuple(names[number] if names else str(number) for number in classes.tolist()),
        shares=tuple(shares[classes].tolist()),
        maps=maps_of(model, inputs, classes),
        filters={str(one): float(scores[saliency.filters.index(one)]) for one in top},
        count=len(saliency.filters),
        pixels=InputSpaceSaliency(saliency, top_k=SHOWN).attribute(inputs, target=TRUE)[0].detach(),
    )


def reference_of(model: nn.Module, data: Path, file: Path | None) -> Reference:
    """What every filter usually does on the labelled photos; read from a file if it is there."""
    if file is not None and file.is_file():
        return Reference.load(file)
    folder = data / "imagenet_val900"
    prepared = preprocessing_of(NAME).override(image_size=227, resize="squash")
    photos = LabelledPhotos.open(folder / "images", prepared, labels=folder / "labels.csv")
    reference = Reference.fit(model, DataLoader(photos, batch_size=32))
    if file is not None:
        reference.save(file)
    return reference


def maps_of(model: nn.Module, inputs: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Maps of the photo by each method, ``(2, H, W)``."""
    doctor = ModelDoctor(model, multiply_by_inputs=True, reduce="relu")
    methods = {
        "Grad-CAM": InputMaps(LayerGradCam(model, model.get_submodule(doctor.layer_name)), relu_attributions=True),
        "Integrated Gradients": InputMaps(IntegratedGradients(model), internal_batch_size=10),
        "discernible neurons": InputMaps(DiscernibleNeurons(model)),
        "Model Doctor": InputMaps(doctor),
    }
    twice = inputs.expand(2, -1, -1, -1)
    return {name: per_pixel(method(twice, target=classes)) for name, method in methods.items()}


def draw(seen: Seen) -> Axes:
    """The photo and the maps side by side; below them the filters that stand out, and their pixels."""
    axes = new_axes(*SIZE)
    figure = axes.figure
    axes.remove()
    figure.set_layout_engine("none")
    wrong, true = seen.names
    panel(figure, 0.05, TOP, 2 * SIDE + GAP).imshow(seen.picture.permute(1, 2, 0))
    words(figure, 0.05, TOP - 0.1, f"{TITLE} says {wrong}. Why?", 12, weight="bold")
    shares = [f"{share:.0%}".replace("%", " %") for share in seen.shares]
    words(figure, 0.05, TOP + 2.76, f"{wrong} {shares[0]}; the right class, {true}, {shares[1]}")
    draw_maps(figure, seen)
    below, right = TOP + 3.2, SIZE[0] - 2.0
    words(figure, 0.05, below, "Parameter saliency:", 9.5, weight="bold")
    words(figure, 1.62, below, f"the filters that stand out, of {seen.count:,}", 9.5)
    words(figure, right, below, "Input-space saliency:", 9.5, weight="bold")
    words(figure, right, below + 0.17, "the pixels that drive them", 9.5)
    draw_filters(panel(figure, 1.95, below + 0.1, 4.0, 1.72), seen.filters)
    return pixel_plot(seen.picture, seen.pixels, panel(figure, right, below + 0.26, 1.95))


def draw_maps(figure: Any, seen: Seen) -> None:
    """Two lines, the wrong class and the true one, with a column for each method."""
    for column, (name, both) in enumerate(seen.maps.items()):
        left = 3.02 + column * (SIDE + GAP)
        words(figure, left + SIDE / 2, TOP - 0.08, name, 8.7, align="center")
        for row, values in enumerate(both):
            shown = signed_overlay(seen.picture, values).permute(1, 2, 0)
            panel(figure, left, TOP + row * (SIDE + GAP), SIDE).imshow(shown)
    for row, name in enumerate(seen.names):
        place = TOP + row * (SIDE + GAP) + SIDE / 2
        words(figure, 2.98, place, f"for {name}", align="right", rotation=90, va="center")
    for column, house in ((0, "by Captum"), (2, "by this package")):
        middle = 3.02 + column * (SIDE + GAP) + SIDE + GAP / 2
        words(figure, middle, TOP - 0.27, house, 8, align="center", color=PALE)
    legend = "red is evidence for the class, blue against it"
    words(figure, SIZE[0] - 0.05, TOP + 2.76, legend, 8, align="right", color=PALE)


def draw_filters(axes: Axes, filters: dict[str, float]) -> None:
    """How much harder than usual the loss pulls at each filter."""
    axes.set_axis_on()
    axes.barh(range(len(filters)), list(filters.values()), height=0.72, color=PALETTE[1])
    for row, score in enumerate(filters.values()):
        axes.text(score - 0.1, row, f"{score:.1f}", ha="right", va="center", fontsize=8, color="white")
    axes.set_yticks(range(len(filters)), list(filters), fontsize=8, family="monospace")
    axes.set_ylim(len(filters) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("the loss pulls harder than usual, by so many standard deviations", fontsize=8.5, labelpad=2)


def panel(figure: Any, left: float, top: float, width: float, height: float | None = None) -> Axes:
    """Axes at a place in inches from the upper left corner, square by default, without a frame."""
    down = width if height is None else height
    across, whole = SIZE
    axes: Axes = figure.add_axes((left / across, 1 - (top + down) / whole, width / across, down / whole))
    axes.set_axis_off()
    return axes


def words(
    figure: Any, left: float, top: float, text: str, size: float = 9, *, align: str = "left", **more: Any
) -> None:
    """A line of text, its baseline at a place in inches from the upper left corner."""
    about = {"fontsize": size, "ha": align, "va": "baseline", "color": INK, **more}
    figure.text(left / SIZE[0], 1 - top / SIZE[1], text, **about)


def main() -> None:
    """Write ``_static/readme.png``, and print what is on it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("PARAMSAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder with models and imagenet_val900")
    parser.add_argument("--reference", type=Path, help="file to keep the reference in, which takes minutes to fit")
    args = parser.parse_args()
    seen = look(args.data, args.reference)
    path = Path(__file__).with_name("_static") / "readme.png"
    path.write_bytes(small_png(draw(seen), dpi=180))
    for name, share in zip(seen.names, seen.shares, strict=True):
        LOG.info("%s: %.1f %%", name, 100 * share)
    for name, score in seen.filters.items():
        LOG.info("%s: %.1f", name, score)
    LOG.info("%s, %.0f KiB", path, path.stat().st_size / 1024)


if __name__ == "__main__":
    main()
