"""Draw the pictures of the pages, from the embedded demo and from simulated tails: ``python docs/pictures.py``.

Those of the gallery are what its own code draws.
"""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from captum.attr import LayerActivation
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from captum_paramsal import DiscernibleNeurons, InputSpaceSaliency, ParameterSaliency, Reference
from captum_paramsal.demo import CLASSES, load_model, load_scenes, normalize
from captum_paramsal.graph import receptive_fields
from captum_paramsal.stats import FilterTails, UpperTail
from captum_paramsal.viz import PALETTE, path_plot, pixel_plot, to_png, trace_plot

FILTERS = 400
SIZES = (300, 1000, 3000, 30000)
SHAPE = 0.3


def pixels() -> Axes:
    """Three mistakes of the demo, and the pixels that drive their guilty filters."""
    saliency, images, labels, wrong = demo()
    model = saliency.model
    with torch.no_grad():
        confidence, seen = model(normalize(images)).softmax(dim=1).max(dim=1)
    shown = torch.where(wrong, confidence, 0.0).topk(3).indices
    maps = InputSpaceSaliency(saliency).attribute(normalize(images[shown]), target=labels[shown])
    _, panels = plt.subplots(2, 3, figsize=(7, 4.9), layout="constrained")
    for (top, bottom), place, one in zip(panels.T, shown.tolist(), maps, strict=True):
        top.imshow(images[place].permute(1, 2, 0))
        top.set_title(f"{CLASSES[labels[place]]}, seen as {CLASSES[seen[place]]}", fontsize=10)
        top.axis("off")
        pixel_plot(images[place], one, bottom)
    return panels[0, 0]


def traces() -> Axes:
    """Three mistakes of the demo, traced for the predicted class and for the true one."""
    model, scenes = load_model(), load_scenes("test")
    with torch.no_grad():
        confidence, seen = model(normalize(scenes.images)).softmax(dim=1).max(dim=1)
    misled = (seen != scenes.labels) & (seen == scenes.cue_labels)
    shown = torch.where(misled, confidence, 0.0).topk(3).indices
    neurons, found = DiscernibleNeurons(model, places=5), normalize(scenes.images[shown])
    _, panels = plt.subplots(2, 3, figsize=(7, 5.1), layout="constrained")
    for line, classes, name in zip(panels, (seen[shown], scenes.labels[shown]), ("seen as", "is"), strict=True):
        trace = neurons.trace(found, classes)
        for n, (axes, place) in enumerate(zip(line, shown.tolist(), strict=True)):
            title = f"{name}: {CLASSES[classes[n]]}"
            trace_plot(scenes.images[place], trace.points(n), trace.boxes()[n], trace.heatmap()[n], axes, title=title)
    return panels[0, 0]


def path() -> Axes:
    """The way from the wrong class through the guiltiest filter to the pixels, in a mistake of the demo."""
    saliency, images, labels, wrong = demo()
    model, mistakes = saliency.model, normalize(images[wrong])
    with torch.no_grad():
        confidence, seen = model(mistakes).softmax(dim=1).max(dim=1)
    guilty = [row[0] for row in saliency.filters.top(saliency.attribute(mistakes, target=labels[wrong]), k=1)]
    way = DiscernibleNeurons(model, top_k=2, places=20).trace(mistakes, seen, through=guilty)
    n = int((way.reached * confidence).argmax())
    one, item = mistakes[n : n + 1], guilty[n]
    fields = receptive_fields(model, one, item.layer, way.filter_places(n).tolist())
    activation = LayerActivation(model, model.get_submodule(item.layer)).attribute(one)[0, item.index]
    told = {"names": CLASSES, "label": int(labels[wrong][n]), "confidence": float(confidence[n])}
    return path_plot(way, images[wrong][n], n, fields=fields, activation=activation, **told)


def reference_size() -> Axes:
    """How often p-values fall below a level, by the size of the reference and the fit."""
    torch.manual_seed(0)
    levels = torch.logspace(-4, -1.3, 28, dtype=torch.float64)
    _, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for size, color in zip(SIZES, PALETTE, strict=False):
        uniform = torch.rand(size, FILTERS, dtype=torch.float64)
        tail = UpperTail.of((uniform**-SHAPE - 1) / SHAPE, 0.10)
        for axes, fit in zip(panels, ("mle", "exponential"), strict=True):
            axes.loglog(levels, shares(FilterTails.fit(tail, fit), levels), color=color, label=f"{size:,} images")
    for axes, name in zip(panels, ("maximum likelihood", "exponential"), strict=True):
        axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
        axes.set_title(name, loc="left", fontsize=10)
        axes.set(xlabel="level", xlim=(1e-4, 0.05), ylim=(0.7, 20))
        axes.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of p-values at or below it,\nas a multiple of the level")
    panels[0].legend(frameon=False, fontsize=9)
    return panels[0]


def shares(tails: FilterTails, levels: Tensor) -> Tensor:
    """True probability of a p-value at or below each level, as a multiple of it, averaged over filters."""
    shape, odds = tails.pareto.shape[:, None], torch.log(tails.rate[:, None] / levels)
    reach = torch.where(shape == 0, odds, torch.expm1(shape * odds) / torch.where(shape == 0, 1.0, shape))
    values = tails.threshold[:, None] + tails.scale[:, None] * reach
    true = (1 + SHAPE * values) ** (-1 / SHAPE)
    return true.mean(dim=0) / levels


def demo() -> tuple[ParameterSaliency, Tensor, Tensor, Tensor]:
    """The demo scored against its validation scenes: method, test images, labels, and which are mistakes."""
    model, usual, scenes = load_model(), load_scenes("validation"), load_scenes("test")
    with torch.no_grad():
        wrong = model(normalize(scenes.images)).argmax(dim=1) != scenes.labels
    reference = Reference.fit(model, [(normalize(usual.images), usual.labels)], show_progress=False)
    return ParameterSaliency(model, reference), scenes.images, scenes.labels, wrong


def small_png(axes: Axes, dpi: float = 110) -> bytes:
    """The figure of these axes as a PNG file of 256 colours, a third as large."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(to_png(axes, dpi))) as whole:
        few = whole.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
    few.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def gallery() -> Iterator[tuple[str, Axes]]:
    """Each picture of the gallery, by its file's name, as the code above it leaves it in ``axes``."""
    names: dict[str, Any] = {}
    for code, file in BLOCK.findall(PAGES.joinpath("gallery.md").read_text("utf-8")):
        exec(code, names)  # noqa: S102 -- the code of a page, which the tests run too
        if file:
            yield file, names["axes"]


PAGES = Path(__file__).parent
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n!\[[^\]]*\]\(_static/([^)]+)\))?", re.MULTILINE | re.DOTALL)
PICTURES: tuple[Callable[[], Axes], ...] = (pixels, traces, path, reference_size)


def main() -> None:
    """Write one file per picture into ``_static``."""
    for picture in PICTURES:
        path = PAGES / "_static" / f"{picture.__name__}.png"
        path.write_bytes(small_png(picture()))
    for file, axes in gallery():
        path = PAGES / "_static" / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(small_png(axes, dpi=90))


if __name__ == "__main__":
    main()
