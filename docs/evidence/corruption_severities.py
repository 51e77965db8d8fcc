"""A step on the filters of mistakes on corrupted photos, at every severity: POT, z-scores, last stage and random.

``python docs/evidence corruption_severities`` corrupts the photos that are not in the reference of ``pot_saliency``,
moves 25 filters of SqueezeNet's mistakes by a step, in the order of several scores, and writes the tables of the page
on POT saliency. What is finished for a kind and a severity is kept in the work folder and not made again.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from corruptions import CORRUPTIONS, SEVERITIES
from photos import Photos, add_data_option, load_photos, load_squeezenet, scores_of
from pot_saliency_cases import LARGEST_TAIL, SQUEEZENET_LAST, at_tail, corrupted, rankings_of, reference_of
from results import Results, markdown_table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from captum_paramsal import Filter, ParameterSaliency, Reference

LOG = logging.getLogger("corruption_severities")
RATE = 0.001
ARMS = ("POT, mle", "z-score", "last stage", "random")
MEASURES = ("wrong class", "cured", "broken")
"""Change of the wrong class, whether the mistake is cured, and whether a correct image becomes a mistake."""


@dataclass(frozen=True)
class Setting:
    """A network with its reference, the photos that are corrupted, and correct clean ones to try each step on."""

    model: nn.Module
    reference: Reference
    others: Photos
    controls: Photos


def load_setting(options: argparse.Namespace) -> Setting:
    """SqueezeNet, and the halves of the photos as in ``pot_saliency``."""
    model, every = load_squeezenet(options.data), load_photos(options.data / "imagenet_val900", None)
    usual, others = every.every_second(0), every.every_second(1)
    reference = reference_of(options.work / "photos", model, usual.images, usual.labels, LARGEST_TAIL)
    right = (scores_of(model, others.images).argmax(dim=1) == others.labels).nonzero()[:, 0]
    return Setting(model, at_tail(reference, options.tail), others, others[right])


def stepped(setting: Setting, kind: str, severity: int, options: argparse.Namespace) -> dict[str, Any]:
    """What a step on the top filters does to mistakes on photos of one kind and severity, by arm and measure."""
    images = corrupted(setting.others.images, kind, severity)
    before = scores_of(setting.model, images)
    wrong = (before.argmax(dim=1) != setting.others.labels).nonzero()[:, 0]
    chosen = wrong[torch.linspace(0, len(wrong) - 1, min(options.mistakes, len(wrong))).long()]
    rows = ParameterSaliency(setting.model, layers=setting.reference.filters).attribute(
        images[chosen], target=setting.others.labels[chosen], internal_batch_size=25
    )
    rankings = rankings_of(setting.model, rows.detach(), setting.reference, SQUEEZENET_LAST)
    mistakes = replace(setting.others[chosen], images=images[chosen])
    drawn = torch.randint(len(setting.controls), (len(chosen),), generator=torch.Generator().manual_seed(0))
    filters = {arm: setting.reference.filters.top(rankings[arm], k=options.filters) for arm in ARMS}
    found = after_steps(setting.model, mistakes, before[chosen], filters, setting.controls[drawn])
    changes = {arm: values.tolist() for arm, values in found.items()}
    return {"accuracy": 1 - len(wrong) / len(images), "photos": chosen.tolist(), **changes}


def after_steps(
    model: nn.Module,
    mistakes: Photos,
    before: Tensor,
    filters: Mapping[str, Sequence[Sequence[Filter]]],
    controls: Photos,
) -> dict[str, Tensor]:
    """The measures ``(3, N)`` of every mistake, by arm, after a step on its filters, which its control sees too.

    As ``repair.fine_tune_step`` does it, with one gradient of a mistake for all arms.

    Args:
        model: Left as it is.
        mistakes: N of them.
        before: Their class scores, ``(N, C)``.
        filters: That are moved, of each mistake, by arm.
        controls: A correct photo for each.
    """
    weights = {name: module.weight for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    rows: dict[str, list[list[float]]] = {arm: [] for arm in filters}
    for number in range(len(mistakes)):
        image, label = mistakes.images[[number]], mistakes.labels[[number]]
        both = torch.cat([image, controls.images[[number]]])
        gradients = torch.autograd.grad(cross_entropy(model(image), label), list(weights.values()))
        of_layer = dict(zip(weights, gradients, strict=True))
        wrong = before[number].argmax()
        for arm, chosen in filters.items():
            kept = {name: weight.detach().clone() for name, weight in weights.items()}
            with torch.no_grad():
                for one in chosen[number]:
                    weights[one.layer][one.index] -= RATE * of_layer[one.layer][one.index]
                after = model(both)
                for name, weight in weights.items():
                    weight.copy_(kept[name])
            change = after[0].softmax(dim=0)[wrong] - before[number].softmax(dim=0)[wrong]
            answers = after.argmax(dim=1)
            cured, broken = answers[0] == label[0], answers[1] != controls.labels[number]
            rows[arm].append([float(change), float(cured), float(broken)])
    return {arm: torch.tensor(values, dtype=torch.float64).T for arm, values in rows.items()}


def pooled(values: Tensor, photos: Tensor, resamples: int = 2000) -> tuple[float, float, float]:
    """Mean of values ``(N,)`` with its 95 % interval; photos ``(N,)`` are resampled, with all values that each has."""
    _, place = photos.unique(return_inverse=True)
    size = int(place.max()) + 1
    sums, counts = (
        torch.zeros(size, dtype=torch.float64).scatter_add_(0, place, one) for one in (values, torch.ones_like(values))
    )
    drawn = torch.randint(size, (resamples, size), generator=torch.Generator().manual_seed(0))
    means = sums[drawn].sum(dim=1) / counts[drawn].sum(dim=1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
    return values.mean().item(), low, high


def changes_of(cells: Sequence[Mapping[str, Any]], arm: str, measure: str) -> Tensor:
    """One measure of an arm, over the mistakes of several cells, in percent or points."""
    row = MEASURES.index(measure)
    return torch.cat([100 * torch.tensor(cell[arm][row], dtype=torch.float64) for cell in cells])


def photos_of(cells: Sequence[Mapping[str, Any]]) -> Tensor:
    """Which photo each mistake of several cells is."""
    return torch.cat([torch.tensor(cell["photos"]) for cell in cells])


def severity_table(cells: Mapping[str, Mapping[str, Any]], measure: str) -> str:
    """One measure by arm, pooled over the kinds of corruption, and POT's minus those of the others, paired."""
    rows = []
    for severity in (one for one in SEVERITIES if f"{next(iter(CORRUPTIONS))}, {one}" in cells):
        found = [cells[f"{kind}, {severity}"] for kind in CORRUPTIONS]
        photos = photos_of(found)
        values = {arm: changes_of(found, arm, measure) for arm in ARMS}
        gaps = [values[ARMS[0]] - values[arm] for arm in ARMS[1:]]
        shown = [_shown(pooled(one, photos)) for one in values.values()]
        rows.append([f"{severity}", f"{len(photos):,}", *shown, *(_shown(pooled(gap, photos), "+") for gap in gaps)])
    return markdown_table(["severity", "mistakes", *ARMS, *(f"{ARMS[0]}, minus {arm}" for arm in ARMS[1:])], rows)


def kind_table(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Accuracy and mistakes cured, by kind and severity."""
    rows = []
    for name, cell in cells.items():
        photos = photos_of([cell])
        cured = {arm: changes_of([cell], arm, "cured") for arm in ARMS}
        gap = _shown(pooled(cured[ARMS[0]] - cured[ARMS[1]], photos), "+")
        head = [name, f"{100 * cell['accuracy']:.1f}", f"{len(photos)}"]
        rows.append([*head, *(_shown(pooled(one, photos)) for one in cured.values()), gap])
    return markdown_table(
        ["kind, severity", "accuracy, %", "mistakes", *ARMS, f"{ARMS[0]}, minus {ARMS[1]}"],
        rows,
    )


def _shown(values: Sequence[float], sign: str = "") -> str:
    mean, low, high = (f"{value:{sign}.1f}" for value in values)
    return f"{mean} ({low} to {high})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make every kind and severity, and write ``corruption_severities.md`` to the work folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("pot-saliency"), help="folder for results, that of the page")
    parser.add_argument("--severities", nargs="+", type=int, choices=SEVERITIES, default=list(SEVERITIES))
    parser.add_argument("--mistakes", type=int, default=40, help="of each kind and severity, at most")
    parser.add_argument("--filters", type=int, default=25, help="moved by the step")
    parser.add_argument("--tail", type=float, default=0.10, help="share of the reference set above the thresholds")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    setting, results = load_setting(options), Results(options.work / "corruption_severities.json")
    cells = {}
    for kind, severity in product(CORRUPTIONS, sorted(set(options.severities))):
        name = f"{kind}, {severity}"
        cells[name] = results.once(name, partial(stepped, setting, kind, severity, options))
    parts = [f"{measure}\n\n{severity_table(cells, measure)}" for measure in MEASURES]
    text = "\n".join([*parts, kind_table(cells)])
    LOG.info("%s", text)
    (options.work / "corruption_severities.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
