"""Two checkpoints on the images that only one gets right: do neurons and pixels differ more than where both are right?

``python docs/evidence two_models`` trains a network a little further, damages one filter of it, compares it with what
it was, and writes the tables and the figure of ``two_models.md``. ``--network`` chooses the network.
"""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cifar10 import any_of, cifar10_pictures, real_models
from photos import add_data_option, load_photos, load_squeezenet
from results import Results, fewer_colours, markdown_table
from torch import Tensor, nn

from captum_paramsal import compare_models
from captum_paramsal.models_compared import ImageDifferences, compare_on_images
from captum_paramsal.stats import bootstrap_difference, bootstrap_means
from captum_paramsal.viz import comparison_grid, to_png

LOG = logging.getLogger("two_models")

MEASURED = {
    "neurons in common, last layer": lambda found: found.overlap[:, 1],
    "neurons in common, all layers": lambda found: found.overlap[:, 1:].nanmean(dim=1),
    "pixels in common": lambda found: found.overlap[:, -1],
    **{
        words: lambda found, place=place: found.similarity[:, place]
        for place, words in enumerate(
            ("saliency of the filters", "boxes of the traces", "heat maps of the traces", "maps of saliency")
        )
    },
}
"""What is compared on every image, by name; the first layer after the class scores is the same in most."""
DAMAGE = -4


@dataclass(frozen=True)
class Subject:
    """A network of the study.

    Attributes:
        load: Reads it from the folder with the data.
        images: Images and labels that it is trained further on, and those that both checkpoints are asked about.
        rate: Of the training.
        epochs: Of the training.
        batch: Of the training.
        faults: Filters that are damaged, one at a time.
    """

    load: Callable[[Path], nn.Module]
    images: Callable[[Path, int | None], Iterator[tuple[Tensor, Tensor]]]
    rate: float
    epochs: int
    batch: int
    faults: Sequence[tuple[str, int]]


def of_cifar10(data: Path, limit: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Of the training set, and of the test set."""
    for split, size, count in (("train", 50000, 6400), ("test", 10000, 2000)):
        yield cifar10_pictures(data, split, any_of(size)[: limit or count])


def of_photos(data: Path, limit: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Every second photo, and the others."""
    photos = load_photos(data / "imagenet_val900", limit)
    for start in (0, 1):
        part = photos.every_second(start)
        yield part.images, part.labels


NETWORKS = {
    "resnet20": Subject(
        lambda data: real_models().resnet20(data),
        of_cifar10,
        *(0.01, 1, 64),
        (("layer1.1.conv1", 5), ("layer2.1.conv1", 5), ("layer3.1.conv1", 5)),
    ),
    "squeezenet": Subject(load_squeezenet, of_photos, *(0.001, 1, 25), (("features.6.expand3x3", 5),)),
}


def trained_further(model: nn.Module, images: Tensor, labels: Tensor, subject: Subject) -> nn.Module:
    """A copy after some more training, the statistics of its norms with it."""
    torch.manual_seed(0)
    other = deepcopy(model).train()
    optimizer = torch.optim.SGD(other.parameters(), subject.rate, momentum=0.9)
    for _ in range(subject.epochs):
        for places in torch.randperm(len(images)).split(subject.batch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(other(images[places]), labels[places]).backward()
            optimizer.step()
    return other.eval()


def damaged(model: nn.Module, layer: str, place: int) -> nn.Module:
    """A copy with one filter that is far too strong, and of the wrong sign."""
    other = deepcopy(model)
    with torch.no_grad():
        other.get_submodule(layer).weight[place] *= DAMAGE
    return other


def compared(a: nn.Module, b: nn.Module, images: Tensor, labels: Tensor, limit: int) -> dict[str, Any]:
    """What differs, with intervals."""
    models = compare_models(a, b, images, labels, internal_batch_size=50)
    found = compare_on_images(a, b, images, labels, answers=models, limit=limit, keep=0, internal_batch_size=25)
    counts = {group: len(getattr(models, group)) for group in ("only_a", "only_b", "both", "neither")}
    return {
        "counts": counts,
        "p": models.p_value,
        "loss": models.loss_table(),
        "moved": [str(row.filter) for row in models.top(1)],
        "compared": [len(found.of_group(group)) for group in ("only_a", "only_b", "both")],
        "layers": [row for row in found.layer_table() if row["group"] == "only_a"],
        "measures": {name: differences(found, measure(found)) for name, measure in MEASURED.items()},
    }


def differences(found: ImageDifferences, values: Tensor) -> dict[str, list[float]]:
    """Mean where both are right, and how much lower it is where only one is, each with its interval."""
    groups = {group: values[found.of_group(group)][:, None] for group in ("only_a", "only_b", "both")}
    control = groups["both"]
    means = {"both": bootstrap_means(control)[:, 0].tolist()}
    return means | {
        group: bootstrap_difference(groups[group], control)[:, 0].tolist()
        for group in ("only_a", "only_b")
        if len(groups[group])
    }


def cell(ends: Sequence[float] | None, *, signed: bool = True) -> str:
    """A number with its interval."""
    if ends is None:
        return ""
    return "{} ({} to {})".format(*(f"{end:+.2f}" if signed else f"{end:.2f}" for end in ends))


def tables(known: dict[str, dict[str, Any]]) -> str:
    """Counts, measures and the layers that differ most, of every second checkpoint."""
    header = [
        "second checkpoint",
        "A only",
        "B only",
        "both",
        "McNemar p",
        "moved most",
        "lowest layer against control",
    ]
    rows = []
    for name, found in known.items():
        counts = found["counts"]
        lowest = min(found["layers"], key=lambda row: row["difference"], default=None)
        ends = [lowest[end] for end in ("difference", "difference_low", "difference_high")] if lowest else None
        rows.append(
            [
                *(name, *(f"{counts[group]:,}" for group in ("only_a", "only_b", "both")), f"{found['p']:.2g}"),
                *(f"`{found['moved'][0]}`", f"`{lowest['layer']}` {cell(ends)}" if lowest else ""),
            ]
        )
    parts = [markdown_table(header, rows)]
    for name, found in known.items():
        rows = [
            [measure, cell(values["both"], signed=False), cell(values.get("only_a")), cell(values.get("only_b"))]
            for measure, values in found["measures"].items()
        ]
        parts += [f"{name} ({', '.join(map(str, found['compared']))} images)\n"]
        parts += [markdown_table(["similarity", "both right", "A only, less both", "B only, less both"], rows)]
    parts += ["Parts of the difference in loss, B less A, where A alone is right\n"]
    names = [row["part"] for row in next(iter(known.values()))["loss"]]
    rows = [[name, *(f"{row['only_a']:+.2f}" for row in found["loss"])] for name, found in known.items()]
    return "\n".join([*parts, markdown_table(["second checkpoint", *names], rows)])


def drawn(a: nn.Module, b: nn.Module, images: Tensor, labels: Tensor, file: Path) -> None:
    """Images that A alone, and that B alone gets right, with the traces and saliency maps of both."""
    found = compare_on_images(a, b, images, labels, limit=3, keep=3, usual=64, internal_batch_size=25)
    shown = (found.group[found.kept] < 2).nonzero()[:, 0]
    maps = torch.cat([found.trace_maps, found.saliency_maps])[:, shown].transpose(0, 1)
    numbers = found.images[found.kept[shown]]
    names = [("A right", "B right")[int(group)] for group in found.group[found.kept[shown]]]
    columns = ["trace, A", "trace, B", "saliency, A", "saliency, B"]
    axes = comparison_grid(images[numbers], maps, columns, names=names)
    file.write_bytes(fewer_colours(to_png(axes, dpi=110)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and write ``two_models, NETWORK.json``, tables and figure to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    subject = NETWORKS[options.network]
    model = subject.load(options.data)
    training, asked = subject.images(options.data, options.limit)
    retrained = trained_further(model, *training, subject)
    others = {"trained further": retrained}
    for layer, place in subject.faults:
        others[f"{layer}[{place}] damaged"] = damaged(model, layer, place)
    layer, place = subject.faults[len(subject.faults) // 2]
    others[f"trained further, {layer}[{place}] damaged"] = damaged(retrained, layer, place)
    results = Results(options.work / f"two_models, {options.network}.json")
    known = {
        name: results.once(name, lambda other=other: compared(model, other, *asked, options.explained))
        for name, other in others.items()
    }
    text = tables(known)
    LOG.info("\n%s", text)
    (options.work / f"two_models, {options.network}.md").write_text(text, encoding="utf-8")
    drawn(model, retrained, *asked, options.work / f"two_models_{options.network}.png")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--network", choices=NETWORKS, default="resnet20", help="which")
    parser.add_argument("--work", type=Path, default=Path("two-models"), help="folder for the results")
    parser.add_argument("--limit", type=int, help="images of each set, at most")
    parser.add_argument("--explained", type=int, default=64, help="images of each group, at most")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
