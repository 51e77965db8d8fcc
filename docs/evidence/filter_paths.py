"""Does the trace of a mistake pass through its guilty filters, and how much of it?

``python docs/evidence/filter_paths.py`` traces the mistakes of a network for the class that it saw, and writes
``filter_paths.json`` and the tables of ``filter_paths.md``. ``--network`` chooses the network.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from photos import add_data_option, load_photos, load_squeezenet
from results import Results, markdown_table, with_interval
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal import CNNFixations, DiscernibleNeurons, Filter, ParameterSaliency, Reference, TraceAttribution
from captum_paramsal.demo import load_model, load_scenes, normalize

LOG = logging.getLogger("filter_paths")
GUILTY = 10
WIDE = "discernible neurons, `top_k=3, linear_top_k=None`"
METHODS: dict[str, Callable[[nn.Module], TraceAttribution]] = {
    "discernible neurons, as it is": DiscernibleNeurons,
    WIDE: lambda model: DiscernibleNeurons(model, top_k=3, linear_top_k=None),
    "CNN-Fixations": CNNFixations,
}


@dataclass(frozen=True)
class Mistakes:
    """What a network got wrong.

    Attributes:
        model: The network.
        images: ``(N, C, H, W)``.
        predicted: What it saw, ``(N,)``.
        guilty: The filters with the highest scores of each, most guilty first.
        others: For each of these another filter of its layer, drawn at random.
    """

    model: nn.Module
    images: Tensor
    predicted: Tensor
    guilty: list[list[Filter]]
    others: list[list[Filter]]


def of_network(options: argparse.Namespace) -> Mistakes:
    """The mistakes among the images that are not the reference's."""
    if options.network == "demo":
        usual, scenes = load_scenes("validation"), load_scenes("test")
        batches = list(zip(normalize(usual.images).split(60), usual.labels.split(60), strict=True))
        return found(load_model(), batches, normalize(scenes.images), scenes.labels, options.mistakes)
    every = load_photos(options.data / "imagenet_val900", None)
    usual_photos, photos = every.every_second(0), every.every_second(1)
    batches = list(zip(usual_photos.images.split(25), usual_photos.labels.split(25), strict=True))
    return found(load_squeezenet(options.data), batches, photos.images, photos.labels, options.mistakes)


def found(
    model: nn.Module, reference: Sequence[tuple[Tensor, Tensor]], images: Tensor, labels: Tensor, most: int
) -> Mistakes:
    """The first mistakes, with the filters that stand out in each."""
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(dim=1) for part in images.split(50)])
    wrong = (predicted != labels).nonzero()[:most, 0]
    saliency = ParameterSaliency(model, Reference.fit(model, reference, show_progress=False))
    scores = saliency.attribute(images[wrong], target=labels[wrong], internal_batch_size=25)
    guilty = saliency.filters.top(scores, k=GUILTY)
    generator = torch.Generator().manual_seed(0)

    def another(item: Filter) -> Filter:
        count = saliency.filters.counts[item.layer]
        step = int(torch.randint(1, count, (), generator=generator))
        return Filter(item.layer, (item.index + step) % count)

    others = [[another(item) for item in row] for row in guilty]
    return Mistakes(model, images[wrong], predicted[wrong], guilty, others)


def study(mistakes: Mistakes, method: TraceAttribution) -> dict[str, Any]:
    """For each mistake, whether the trace reaches its filters and others, and what goes through the first one."""
    rows = range(len(mistakes.images))
    reached: dict[str, list[list[bool]]] = {"guilty": [], "same layer": [], "of another mistake": []}
    shares: list[float] = []
    for row in tqdm(rows):
        image, label = mistakes.images[row : row + 1], mistakes.predicted[row : row + 1]
        whole = method.trace(image, target=label)
        seen = {(name.partition("#")[0], c) for name, n in whole.layers.items() for c in n.channel.tolist()}
        strangers = mistakes.guilty[(row + len(rows) // 2) % len(rows)]
        for name, filters in zip(reached, (mistakes.guilty[row], mistakes.others[row], strangers), strict=True):
            reached[name].append([(item.layer, item.index) in seen for item in filters])
        first = mistakes.guilty[row][0]
        if reached["guilty"][-1][0]:
            shares.append(float(method.trace(image, target=label, through=first).shares()["input"][0]))
    return {**reached, "shares": shares}


def table(results: dict[str, Any]) -> str:
    """A row for each method: shares in percent with intervals over mistakes."""
    header = [
        "trace",
        "the guiltiest filter",
        "ten guiltiest",
        "random, same layers",
        "ten of another mistake",
        "pixels",
    ]
    rows = []
    for name, result in results.items():
        reached = {kind: torch.tensor(values).double() for kind, values in result.items() if kind != "shares"}
        pixels = torch.tensor(result["shares"], dtype=torch.float64)
        cells = [reached["guilty"][:, 0], *(values.mean(dim=1) for values in reached.values())]
        shown = f"{100 * pixels.median():.0f} ({len(pixels)})" if len(pixels) else "(0)"
        rows.append([name, *map(with_interval, cells), shown])
    return markdown_table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Trace and write the results to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    results = Results(options.work / f"filter_paths_{options.network}.json")
    mistakes = of_network(options)
    LOG.info("%d mistakes", len(mistakes.images))
    methods = {name: build for name, build in METHODS.items() if options.wide or name != WIDE}
    every = {
        name: results.once(name, lambda build=build: study(mistakes, build(mistakes.model)))
        for name, build in methods.items()
    }
    text = table(every)
    LOG.info("\n%s", text)
    (options.work / f"filter_paths_{options.network}.md").write_text(text, encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("filter-paths"), help="folder for the results")
    parser.add_argument("--network", choices=("demo", "squeezenet"), default="demo")
    parser.add_argument("--mistakes", type=int, default=150, help="mistakes, at most")
    parser.add_argument("--no-wide", dest="wide", action="store_false", help="leave out the trace that keeps more")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
