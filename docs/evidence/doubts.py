"""Are wrong labels found, and wrong answers? Labels are replaced, beside cleanlab's scores, and answers asked about.

``python docs/evidence doubts`` needs ``pip install cleanlab`` and writes ``doubts.json`` and
``doubts.md`` to the work folder. What is done is not made again.
"""

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from cifar10 import any_of, cifar10_pictures, real_models
from cure_cases import Labelled, predicted
from photos import add_data_option
from results import Results, auc, markdown_table, with_interval
from torch import Tensor, nn

from captum_paramsal.demo import load_model, make_scenes, normalize
from captum_paramsal.triage import label_doubts, prediction_doubts

SHARE = 0.05
"""Labels that are replaced."""


def resnet20(data: Path) -> tuple[nn.Module, Labelled]:
    """He et al.'s network on test images of CIFAR-10 that were encoded anew, of which it gets three quarters right."""
    return real_models().resnet20(data), Labelled(*cifar10_pictures(data, "test", any_of(4000)))


def squeezenet(data: Path) -> tuple[nn.Module, Labelled]:
    """SqueezeNet 1.1 on 900 photos of 1,000 classes: hardly two of one class, so that neighbours cannot agree."""
    return real_models().squeezenet(data), Labelled(*real_models().imagenet(data, 900))


SUBJECTS: Mapping[str, Callable[[Path], tuple[nn.Module, Labelled]]] = {"ResNet-20": resnet20, "SqueezeNet": squeezenet}


def planted(images: Labelled, scores: Tensor, kind: str, seed: int) -> tuple[Tensor, Tensor]:
    """Labels of which some are replaced, and which; by any other class, or by the one the model likes best."""
    generator = torch.Generator().manual_seed(seed)
    count, classes = len(images), scores.shape[1]
    chosen = torch.randperm(count, generator=generator)[: round(SHARE * count)]
    if kind == "any class":
        other = (images.labels + torch.randint(1, classes, (count,), generator=generator)) % classes
    else:
        hidden = scores.clone()
        hidden[torch.arange(count), images.labels] = -torch.inf
        other = hidden.argmax(dim=1)
    labels, wrong = images.labels.clone(), torch.zeros(count, dtype=torch.bool)
    labels[chosen], wrong[chosen] = other[chosen], True
    return labels, wrong


def compared(model: nn.Module, images: Labelled, scores: Tensor, kind: str, seed: int) -> dict[str, Any]:
    """AUC of every score, and what the rule for labels that are likely wrong comes to."""
    # Only this page's rival.
    from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415

    labels, wrong = planted(images, scores, kind, seed)
    found = label_doubts(model, Labelled(images.inputs, labels).batches(), show_progress=False)
    arms = {"doubt": found.doubt, "confidence alone": -found.confidence, "neighbours alone": -found.support}
    probability = scores.double().softmax(dim=1).numpy()
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        quality = get_label_quality_scores(labels.numpy(), probability, method=method)
        arms[f"cleanlab, {method}"] = -torch.from_numpy(quality)
    arms["random"] = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed + 1))
    likely = found.likely_wrong
    hits = int((likely & wrong).sum())
    right = found.suggested[likely & wrong] == images.labels[likely & wrong]
    return {
        "auc": {name: auc(score.numpy(), wrong.numpy()) for name, score in arms.items()},
        "named": int(likely.sum()),
        "precision": hits / max(int(likely.sum()), 1),
        "recall": hits / int(wrong.sum()),
        "true class suggested": float(right.double().mean()) if hits else 0.0,
    }


def study(results: Results, name: str, data: Path, seeds: int) -> None:
    """Both kinds of wrong labels, several draws."""

    @lru_cache
    def subject() -> tuple[nn.Module, Labelled, Tensor]:
        model, images = SUBJECTS[name](data)
        with torch.no_grad():
            scores = torch.cat([model(inputs) for inputs, _ in images.batches()])
        logging.getLogger("doubts").info(
            "%s: %.1f %% right", name, 100 * float((predicted(model, images) == images.labels).double().mean())
        )
        return model, images, scores

    for kind in ("any class", "the class the model likes best"):
        for seed in range(seeds):
            results.once(
                f"{name} | {kind} | {seed}", lambda kind=kind, seed=seed: compared(*subject(), kind=kind, seed=seed)
            )


def scenes(_: Path) -> tuple[nn.Module, Labelled]:
    """The demo's network, which takes a patch of the background for the object."""
    made = make_scenes(2000, seed=61, cue_agreement=0.6)
    return load_model(), Labelled(normalize(made.images), made.labels)


def asked(model: nn.Module, images: Labelled, seed: int) -> dict[str, Any]:
    """Half of the images are asked about without their labels; the labels of the other half are known."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    half = len(images) // 2
    these, known = images[order[:half]], images[order[half:]]
    found = prediction_doubts(model, these.batches(), known.batches(), show_progress=False)
    wrong = (found.classes != these.labels).numpy()
    arms = {"doubt": found.doubt, "confidence alone": -found.confidence, "neighbours alone": -found.support}
    return {
        "auc": {name: auc(score.numpy(), wrong) for name, score in arms.items()},
        "right": float((found.classes == these.labels).double().mean()),
        "suggested right": float((found.suggested == these.labels).double().mean()),
    }


def answers(results: Results, name: str, data: Path, seeds: int) -> None:
    """Several halves of a network's images."""
    subject = lru_cache(lambda: {**SUBJECTS, "demo": scenes}[name](data))
    for seed in range(seeds):
        results.once(f"answers | {name} | {seed}", lambda seed=seed: asked(*subject(), seed=seed))


def answers_table(found: Mapping[str, Any]) -> str:
    """AUC of each score for mistakes without labels, and how often the suggested class is right."""
    rows = []
    for name in dict.fromkeys(key.split(" | ")[1] for key in found if key.startswith("answers")):
        of = [one for key, one in found.items() if key.startswith(f"answers | {name} |")]
        cells = [with_interval(torch.tensor([one["auc"][arm] for one in of]), 3, percent=False) for arm in of[0]["auc"]]
        shares = [with_interval(torch.tensor([one[key] for one in of])) for key in ("right", "suggested right")]
        rows.append([name, *cells, *shares])
    header = ["answers", "doubt", "confidence alone", "neighbours alone", "right, %", "suggested class right, %"]
    return markdown_table(header, rows) if rows else ""


def tables(found: Mapping[str, Any]) -> str:
    """Each score by network and kind, and the rule."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for key, value in found.items():
        if key.startswith("answers"):
            continue
        groups.setdefault(", ".join(key.split(" | ")[:2]), []).append(value)
    names = list(dict.fromkeys(name for of in groups.values() for one in of for name in one["auc"]))
    rows = [
        [
            name,
            *(
                with_interval(torch.tensor([one["auc"][name] for one in of]), 3, percent=False)
                for of in groups.values()
            ),
        ]
        for name in names
    ]
    rule = [
        [group, f"{sum(one['named'] for one in of) / len(of):.0f}"]
        + [
            with_interval(torch.tensor([one[key] for one in of]))
            for key in ("precision", "recall", "true class suggested")
        ]
        for group, of in groups.items()
    ]
    header = ["likely wrong", "named", "of these wrong, %", "of the wrong named, %", "true class suggested, %"]
    return "\n".join([markdown_table(["AUC", *groups], rows), markdown_table(header, rule), answers_table(found)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Plant, doubt, compare, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("doubts"), help="folder for the results")
    parser.add_argument("--networks", nargs="*", default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument("--seeds", type=int, default=5, help="draws of the labels that are replaced")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    results = Results(options.work / "doubts.json")
    for name in options.networks:
        study(results, name, options.data, options.seeds)
    for name in [*options.networks, "demo"]:
        answers(results, name, options.data, options.seeds)
    (options.work / "doubts.md").write_text(tables(results.found), encoding="utf-8")


if __name__ == "__main__":
    main()
