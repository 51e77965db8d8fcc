"""What the mistakes of SqueezeNet come from, checked by eye, and what regions of pixels do to mistakes.

``python docs/evidence mistake_kinds`` runs all parts in turn: what the tool says, sheets to read the photos by eye
(which do not say it), thresholds and precision, regions that are covered, regions pasted into other photos, and the
gallery. What was finished is kept in the work folder and not made again.
"""

import argparse
import csv
import io
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

import torch
from contact_sheets import contact_sheets
from mistake_readings import Readings, chosen_thresholds, judgement, listing, precision_table, told_apart
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
from region_studies import gallery, pasted_regions, region_effects, usable
from results import Results, fewer_colours, markdown_table, percent
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from captum_paramsal import InputSpaceSaliency, ParameterSaliency, Reference
from captum_paramsal.comparison import PRESETS
from captum_paramsal.metrics import per_pixel
from captum_paramsal.repair import MistakeKinds, mistake_kinds

LOG = logging.getLogger("mistake_kinds")
OURS, CAM = "input-space saliency", "Grad-CAM, predicted class"
FILLS: Mapping[str, Any] = {"mean colour": 0.0, "blur": "blur"}
READINGS = Path(__file__).with_name("mistake_readings.csv")
JUDGED = 60
NETWORKS: Mapping[str, tuple[Callable[[Path], nn.Module], Preparation]] = {
    "squeezenet": (load_squeezenet, SQUEEZENET_INPUT),
    "efficientnet_lite1": (load_lite1, LITE1_INPUT),
}


@dataclass(frozen=True)
class Study:
    """A network, and the photos that are not in its reference.

    Attributes:
        saliency: z-scores.
        photos: Every second of the 900.
        files: Their names.
        predicted: Classes, ``(N,)``.
        classes: Names of all classes.
        results: What was finished.
        options: Sizes and folders.
    """

    saliency: ParameterSaliency
    photos: Photos
    files: Sequence[str]
    predicted: Tensor
    classes: Mapping[int, str]
    results: Results
    options: argparse.Namespace

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.saliency.model

    @property
    def mistakes(self) -> Tensor:
        """Numbers of the misclassified photos."""
        return (self.predicted != self.photos.labels).nonzero()[:, 0]

    @property
    def right(self) -> Tensor:
        """Numbers of the others."""
        return (self.predicted == self.photos.labels).nonzero()[:, 0]

    @property
    def files_of_mistakes(self) -> list[str]:
        """Names of the misclassified photos."""
        return [self.files[place] for place in self.mistakes.tolist()]

    @property
    def maps(self) -> dict[str, Tensor]:
        """Maps of all mistakes, ``(M, H, W)`` by method, from a file or made now."""
        path = self.options.work / "maps.safetensors"
        if not path.exists():
            wrong = self.photos[self.mistakes]
            cam = PRESETS["grad_cam"].build(self.model, None)
            parts = zip(wrong.images.split(16), self.predicted[self.mistakes].split(16), strict=True)
            ours = InputSpaceSaliency(self.saliency).attribute(wrong.images, wrong.labels, internal_batch_size=8)
            result = {OURS: ours, CAM: torch.cat([cam(*both) for both in parts])}
            save_file({name: per_pixel(values).float().contiguous() for name, values in result.items()}, path)
        return load_file(path)

    def kinds(self, method: str, fill: str) -> MistakeKinds:
        """What the tool says of all mistakes, from a file or made now."""
        path = self.options.work / f"kinds, {method}, {fill}.safetensors"
        if not path.exists():
            wrong, maps = self.photos[self.mistakes], self.maps[method]
            mistake_kinds(self.model, wrong.images, wrong.labels, maps, wrong.boxes, fill=FILLS[fill]).save(path)
        return MistakeKinds.load(path)


def opened(options: argparse.Namespace) -> Study:
    """The network with its reference, from a file or fitted now on the other half of the photos."""
    folder, path = options.data / "imagenet_val900", options.work / "reference.safetensors"
    load, preparation = NETWORKS[options.network]
    model, every = load(options.data), load_photos(folder, options.photos, preparation)
    if not path.exists():
        usual = every.every_second(0)
        batches = list(zip(usual.images.split(25), usual.labels.split(25), strict=True))
        Reference.fit(model, batches, total=len(usual)).save(path)
    with (folder / "labels.csv").open(encoding="utf-8") as table:
        files = [row["file"] for row in csv.DictReader(table)][: options.photos]
    named = json.loads((options.data / "imagenet_classes.json").read_text("utf-8"))
    classes = {number: name for number, (_, name) in enumerate(named)}
    photos = every.every_second(1)
    predicted = scores_of(model, photos.images).argmax(dim=1)
    saliency, results = ParameterSaliency(model, Reference.load(path)), Results(options.work / "mistake_kinds.json")
    return Study(saliency, photos, files[1::2], predicted, classes, results, options)


def sheets(study: Study) -> None:
    """The mistakes to choose thresholds on, and those to judge them, as pictures to be read."""
    wrong, maps = study.photos[study.mistakes], study.maps[OURS]
    for half, start in (("choose", 0), ("judge", 1)):
        places = torch.arange(start, len(wrong), 2)[: JUDGED if half == "judge" else None]
        titles = [
            f"{place}: label {study.classes[int(wrong.labels[place])]}\n"
            f"    seen as {study.classes[int(study.predicted[study.mistakes[place]])]}"
            for place in places.tolist()
        ]
        for number, sheet in enumerate(contact_sheets(wrong[places], maps[places], titles)):
            sheet.save(study.options.work / f"{half}{number}.png")


def precision(study: Study) -> None:
    """Thresholds by what was read on one half, and how right the tool is on the other."""
    halves = [Readings.of_half(half, study.files_of_mistakes, READINGS) for half in ("choose", "judge")]
    texts = []
    for method in (OURS, CAM):
        for fill in FILLS:
            result = study.kinds(method, fill)
            thresholds, chosen = chosen_thresholds(result, halves[0])
            result = result.with_thresholds(thresholds)
            judged = judgement(result, halves[1])
            facts = {"thresholds": asdict(thresholds), "mean F1 where chosen": chosen}
            study.results.once(f"precision, {method}, {fill}", lambda facts=facts, judged=judged: facts | judged)
            texts.append(f"## {method}, {fill}\n\n{facts}\n\n{precision_table(judged)}")
            if (method, fill) == (OURS, "mean colour"):
                shares = "\n".join(str(row) for row in result.shares())
                texts.append(f"{shares}\n\n{listing(result, halves[1])}")
    result = study.kinds(OURS, "mean colour")
    signs = {"wrong class without the object, less in it alone": result.wrong[:, 2] - result.wrong[:, 1]}
    signs |= {f"share of {method} outside": 1 - study.kinds(method, "mean colour").inside for method in (OURS, CAM)}
    signs |= {
        f"share beyond the area's, {method}": signs[f"share of {method} outside"] + result.area - 1
        for method in (OURS, CAM)
    }
    signs["area outside, no model"] = 1 - result.area
    texts += [f"* {name}: {percent(told_apart(values, halves[1]))}" for name, values in signs.items()]
    _write(study, "precision", "\n".join(texts))


def regions(study: Study) -> None:
    """Objects and backgrounds covered, of mistakes and of as many correct photos (Fig. 7, 17)."""
    texts = []
    for group, places in (("mistakes", study.mistakes), ("correct", study.right[:: study.options.every])):
        photos = study.photos[places]
        photos = photos[usable(photos).nonzero()[:, 0]]
        for fill, value in FILLS.items():
            result = study.results.once(
                f"regions, {group}, {fill}",
                lambda photos=photos, value=value, group=group: region_effects(
                    study.saliency, photos, value, guilty=group == "mistakes"
                ),
            )
            texts.append(f"{group}, {fill}: {result['photos']} photos, area {percent(result['area'])}\n")
            texts.append(
                _effects(
                    {**result["arms"], **{f"{k}, minus elsewhere": v for k, v in result["minus elsewhere"].items()}}
                )
            )
    _write(study, "regions", "\n".join(texts))


def _effects(arms: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    names = ("predicted class", "true class", "right after")
    rows = []
    for arm, values in arms.items():
        gap = arm.endswith("minus elsewhere")
        change, low, high = values["guilty filters"]
        guilty = "" if isnan(change) else f"{change:+.2f} ({low:+.2f} to {high:+.2f})"
        rows.append([arm, *(percent(values[name], signed=gap or name != "right after") for name in names), guilty])
    return markdown_table(["covered", *names, "guilty filters"], rows)


def pasted(study: Study) -> None:
    """Regions of mistakes in correct photos (Fig. 18)."""
    options = study.options
    wrong, right = study.photos[study.mistakes[: options.pasted]], study.right
    others = study.photos.images[right[:: max(1, len(right) // options.others)][: options.others]]
    maps = {name: values[: options.pasted] for name, values in study.maps.items()}
    result = study.results.once("pasted", lambda: pasted_regions(study.model, wrong, others, maps, options.draws))
    rows = []
    for region, table in result.items():
        cells = {(row["measure"], row["pixels"]): [row["mean"], row["low"], row["high"]] for row in table}
        turned = [
            percent(cells["turned", arm], signed=arm == "difference") for arm in ("region", "random", "difference")
        ]
        rows.append([region, *turned, percent(cells["change of wrong class", "difference"], signed=True)])
    header = ["region", "turned, %", "random region, %", "difference", "wrong class, difference"]
    _write(study, "pasted", markdown_table(header, rows))


def shown(study: Study) -> None:
    """Mistakes on free photos before and after their most salient pixels were covered (Fig. 20)."""
    made = gallery(
        study.saliency,
        study.options.data / "nips2017_dev911",
        study.classes,
        limit=study.options.free,
        shown=study.options.shown,
    )
    study.results.once("gallery", lambda: dict(made.numbers))
    buffer = io.BytesIO()
    made.picture.save(buffer, format="png")
    (study.options.work / "mistake_kinds_covered.png").write_bytes(fewer_colours(buffer.getvalue()))
    _write(study, "gallery", "\n".join(f"* {line}" for line in made.credits) + f"\n\n{dict(made.numbers)}\n")


def kinds(study: Study) -> None:
    """What the tool says with each map and fill."""
    for method in (OURS, CAM):
        for fill in FILLS:
            LOG.info("%s, %s: %s", method, fill, study.kinds(method, fill))


PARTS: Mapping[str, Callable[[Study], None]] = {
    "kinds": kinds,
    "sheets": sheets,
    "precision": precision,
    "regions": regions,
    "pasted": pasted,
    "gallery": shown,
}


def _write(study: Study, part: str, text: str) -> None:
    (study.options.work / f"{part}.md").write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that are asked for; each writes its tables to ``PART.md`` in the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    study = opened(options)
    for part in options.parts:
        start = time.process_time()
        PARTS[part](study)
        LOG.info("%s: %.0f s of processor time", part, time.process_time() - start)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        default="squeezenet",
        help="which; sheets, precision and gallery are SqueezeNet's",
    )
    parser.add_argument("--work", type=Path, default=Path("mistake-kinds"), help="folder for the results")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="which")
    parser.add_argument("--photos", type=int, help="of imagenet_val900, at most")
    parser.add_argument(
        "--every", type=int, default=3, help="of the correct photos with regions covered, one in so many"
    )
    parser.add_argument("--pasted", type=int, default=64, help="mistakes whose regions are pasted")
    parser.add_argument("--others", type=int, default=16, help="correct photos that they are pasted into")
    parser.add_argument("--draws", type=int, default=4, help="random regions of each mistake")
    parser.add_argument("--free", type=int, default=240, help="photos of nips2017_dev911 for the gallery")
    parser.add_argument("--shown", type=int, default=4, help="successes, and failures, in the gallery")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
