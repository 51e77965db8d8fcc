"""Input-space saliency on real mistakes: what its pixels are worth, beside Grad-CAM, and in networks that forget."""

import argparse
from collections.abc import Iterator, Mapping
from copy import deepcopy
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import torch
from parameter_saliency import Subject, interval
from photos import scores_of
from results import Results
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from captum_paramsal import InputSpaceSaliency, ParameterSaliency, Reference
from captum_paramsal.comparison import PRESETS
from captum_paramsal.demo import CLASSES, load_model, load_scenes, normalize
from captum_paramsal.metrics import per_pixel
from captum_paramsal.metrics.map_similarity import rank_correlation, structural_similarity
from captum_paramsal.metrics.model_state import seeded
from captum_paramsal.metrics.randomised_models import randomise
from captum_paramsal.repair import MaskedPixels, mask_pixels
from captum_paramsal.repair.interventions.pixel_regions import pixel_mask
from captum_paramsal.viz import comparison_grid, to_png

OURS, CAM, TRUE_CAM, LOSS = "input-space saliency", "Grad-CAM, predicted class", "Grad-CAM, true class", "loss gradient"
SHARE, GUILTY = 0.05, 10
GRID = 13
"""Side of SqueezeNet's last feature maps."""

FORGETTING = {
    "fire8-9": ("features.11.*", "features.12.*"),
    "fire6-9": ("features.9.*", "features.10.*"),
    "fire2-9": ("features.3.*", "features.4.*", "features.6.*", "features.7.*"),
    "everything": ("features.0", "classifier.*"),
}
"""Layers that become random at each stage, besides those before."""


def run_pixels(part: str, subject: Subject, results: Results, options: argparse.Namespace) -> None:
    """Masking, likeness with Grad-CAM, or the cascade."""
    if part == "cascade":
        results.once("cascade", lambda: cascade(subject, options.cascade))
        return
    groups = {"mistakes": subject.mistakes[: options.maps], "right": subject.right[: options.maps]}
    for group, places in groups.items():
        maps = kept_maps(subject, places, options.work / f"{subject.name}-{group}.maps.safetensors")
        if part == "maps":
            results.once(group, partial(likeness, maps))
            continue
        for fill in (0.0, "blur"):
            find = partial(masked, subject, places, maps, fill, guilty=group == "mistakes")
            results.once(f"{group}, {fill}", find)


def kept_maps(subject: Subject, places: Tensor, path: Path) -> dict[str, Tensor]:
    """Maps of some photos, ``(n, H, W)`` by method, from a file or made now."""
    if not path.exists():
        save_file(maps_of(subject.saliency, subject.images[places], subject.labels[places]), path)
    return load_file(path)


def maps_of(saliency: ParameterSaliency, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """One number per pixel, ``(n, H, W)``, by method."""
    model = saliency.model
    cam, predicted = PRESETS["grad_cam"].build(model, None), scores_of(model, images).argmax(dim=1)
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(model(leaf), labels, reduction="sum"), leaf)
    found = {
        OURS: InputSpaceSaliency(saliency).attribute(images, target=labels, internal_batch_size=8),
        CAM: torch.cat([cam(*both) for both in zip(images.split(16), predicted.split(16), strict=True)]),
        TRUE_CAM: torch.cat([cam(*both) for both in zip(images.split(16), labels.split(16), strict=True)]),
        LOSS: gradient,
    }
    return {name: per_pixel(values).float().contiguous() for name, values in found.items()}


def masked(subject: Subject, places: Tensor, maps: Mapping[str, Tensor], fill: Any, *, guilty: bool) -> dict[str, Any]:
    """Means of what becomes of photos with 5 % of their pixels covered, by choice of the pixels, and paired gaps."""
    images, labels = subject.images[places], subject.labels[places]
    known = subject.scores[places]
    count = min(GUILTY, known.shape[1])

    def filter_scores(asked: Tensor, target: Tensor) -> Tensor:
        # Of the photos as they are, the scores are known.
        found = known if asked is images else subject.saliency.attribute(asked, target, internal_batch_size=25)
        return found if isinstance(found, Tensor) else found[0]

    choices = {"salient": (OURS, "salient"), "least salient": (OURS, "least"), "random": (OURS, "random")}
    choices |= {"Grad-CAM": (CAM, "salient"), "loss gradient": (LOSS, "salient")}
    rows = {
        name: _changes(
            mask_pixels(
                subject.model,
                images,
                labels,
                maps[method],
                share=SHARE,
                which=which,
                fill=fill,
                filter_scores=filter_scores if guilty else None,
                top_k=count,
            )
        )
        for name, (method, which) in choices.items()
    }
    return {
        "images": len(places),
        "guilty before": interval(known.topk(count, dim=1).values.double().mean(dim=1)),
        "arms": {name: {key: interval(values) for key, values in found.items()} for name, found in rows.items()},
        "minus random": {
            name: {key: interval(values - rows["random"][key]) for key, values in found.items()}
            for name, found in rows.items()
        },
    }


def _changes(found: MaskedPixels) -> dict[str, Tensor]:
    return {
        "change of predicted class": found.wrong[:, 1] - found.wrong[:, 0],
        "change of true class": found.true[:, 1] - found.true[:, 0],
        "right after": found.corrected[:, 1].double(),
        "change of guilty filters": found.guilty[:, 1] - found.guilty[:, 0],
    }


def likeness(maps: Mapping[str, Tensor]) -> dict[str, Any]:
    """How alike input-space saliency and other maps are, and the maps of other photos."""
    ours = maps[OURS].abs()
    others = {name: maps[name].abs() for name in (CAM, TRUE_CAM, LOSS)}
    others[f"{CAM}, of another photo"] = maps[CAM].abs().roll(1, dims=0)
    others[f"{OURS}, of another photo"] = ours.roll(1, dims=0)
    found = {}
    for name, theirs in others.items():
        coarse = [adaptive_avg_pool2d(each[:, None], GRID)[:, 0] for each in (ours, theirs)]
        found[name] = {
            "rank correlation": interval(rank_correlation(ours, theirs)),
            "rank correlation, 13 x 13": interval(rank_correlation(*coarse)),
            "overlap": interval(overlap(ours, theirs)),
            "overlap, 13 x 13": interval(overlap(*coarse)),
        }
    return found


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Share of one map's 5 % strongest pixels that are among the other's, ``(N,)``."""
    first, second = (pixel_mask(each, each[:, None], SHARE) for each in (one, other))
    return (first & second).flatten(1).sum(dim=1).double() / first.flatten(1).sum(dim=1)


def forgetting(model: nn.Module, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """A copy of SqueezeNet whose layers become random, the last ones first."""
    copy = deepcopy(model)
    for number, (stage, patterns) in enumerate(FORGETTING.items()):
        with seeded(seed + number):
            for name, module in copy.named_modules():
                if isinstance(module, nn.Conv2d) and any(fnmatchcase(name, pattern) for pattern in patterns):
                    randomise(module)
        yield stage, copy


def cascade(subject: Subject, count: int, refitted: int = 40) -> dict[str, Any]:
    """Likeness of the maps of a network that forgets with those of the trained one, by stage."""
    places, reference = subject.mistakes[:count], subject.saliency.reference
    if reference is None:
        message = "Expected scores with a reference."
        raise ValueError(message)
    images, labels = subject.images[places], subject.labels[places]
    usual = subject.right[:refitted]
    trained = maps_of(subject.saliency, images, labels)
    few = Reference.fit(subject.model, [(subject.images[usual], subject.labels[usual])], internal_batch_size=25)
    trained["input-space saliency, reference refitted"] = maps_of(
        ParameterSaliency(subject.model, few), images, labels
    )[OURS]
    found: dict[str, Any] = {"images": len(places), "refitted": len(usual)}
    for stage, model in forgetting(subject.model):
        later = maps_of(ParameterSaliency(model, reference.transfer(model)), images, labels)
        few = Reference.fit(model, [(subject.images[usual], subject.labels[usual])], internal_batch_size=25)
        again = maps_of(ParameterSaliency(model, few), images, labels)
        later["input-space saliency, reference refitted"] = again[OURS]
        found[stage] = {
            name: {
                "rank correlation": interval(rank_correlation(trained[name], values)),
                "SSIM": interval(structural_similarity(trained[name], values)),
            }
            for name, values in later.items()
        }
    return found


def picture(shown: int = 4, usual: int = 480) -> bytes:
    """Mistakes of the embedded demo with their maps, as a PNG."""
    model, scenes, others = load_model(), load_scenes("test"), load_scenes("validation")[:usual]
    reference = Reference.fit(model, [(normalize(others.images), others.labels)], internal_batch_size=60)
    with torch.no_grad():
        confidence, seen = model(normalize(scenes.images)).softmax(dim=1).max(dim=1)
    wrong = torch.where(seen != scenes.labels, confidence, 0.0).topk(shown).indices
    images, labels = normalize(scenes.images[wrong]), scenes.labels[wrong]
    maps = maps_of(ParameterSaliency(model, reference), images, labels)
    drawn = torch.stack([maps[name] for name in (OURS, CAM, TRUE_CAM)], dim=1)
    names = [f"{CLASSES[label]},\nseen as {CLASSES[seen[place]]}" for label, place in zip(labels, wrong, strict=True)]
    methods = [OURS.replace(" ", "\n"), "Grad-CAM,\nclass seen", "Grad-CAM,\ntrue class"]
    return to_png(comparison_grid(list(scenes.images[wrong]), list(drawn), methods, names=names), dpi=64)
