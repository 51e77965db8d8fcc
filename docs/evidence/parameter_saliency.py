"""What happens when the most salient filters are knocked out, perturbed or fine-tuned: Levin et al. on three networks.

``python docs/evidence/parameter_saliency.py`` runs the parts that are asked for. Every finished curve and result is
kept in the work folder and not made again. ``parameter_saliency_tables.py`` makes tables and figures of it, and
``parameter_saliency_pixels.py`` has the parts about pixels.
"""

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cifar10 import CLASSES, any_of, cifar10_pictures, real_models
from photos import (
    LITE1_INPUT,
    SQUEEZENET_INPUT,
    Preparation,
    add_data_option,
    load_lite1,
    load_photos,
    load_squeezenet,
    scores_of,
)
from results import Results, fewer_colours
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from captum_paramsal import FilterIndex, ParameterSaliency, POTSaliency, Reference
from captum_paramsal.repair import (
    ControlImages,
    InterventionCurve,
    fine_tune_curve,
    knock_out_curve,
    magnitude_ranking,
    neighbors,
    perturb_curve,
    random_ranking,
    restrict_to_layers,
    step_transfer,
    ties_by,
)
from captum_paramsal.stats.bootstrap import bootstrap_means
from captum_paramsal.viz import neighbor_grid, to_png
from captum_paramsal.viz.style import new_panels

LOG = logging.getLogger("parameter_saliency")
RATE = 0.001
OTHER_RATES = (0.0003, 0.003)
KNOCKED = ("z-score", "random", "last stage", "raw gradient", "POT", "least salient", "magnitude")
TUNED = ("z-score", "random", "last stage", "raw gradient", "POT", "longest step")
DISTURBED = ("z-score", "random", "raw gradient", "least salient")
NEAREST, TRIED = 10, 5
CURVES, PIXELS = ("tuned", "knocked", "rates", "noise"), ("masking", "maps", "cascade")
PARTS = ("profiles", "neighbours", "others", "whole", *CURVES, *PIXELS)


@dataclass(frozen=True)
class Layout:
    """What differs between the networks.

    Attributes:
        stages: Patterns of the layers of each stage, shallow to deep.
        last: Which of them are the last stage.
        early: Which are early, for neighbours.
        size: Photos scored at once.
        times: How many times as many of its mistakes are looked at.
    """

    stages: Mapping[str, str]
    last: Sequence[str]
    early: Sequence[str]
    size: int
    times: int


@dataclass(frozen=True)
class Pictures:
    """Images ``(N, 3, H, W)`` and labels ``(N,)``."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Subject:
    """A network and photos that are not in its reference.

    Attributes:
        name: In files and tables.
        model: In evaluation mode.
        saliency: z-scores; its reference holds other photos.
        images: Photos, ``(N, 3, H, W)``.
        labels: ``(N,)``.
        predicted: ``(N,)``.
        raw: Raw profiles, ``(N, F)``.
        usual: Raw profiles of the reference's photos.
        layout: Its stages.
    """

    name: str
    model: nn.Module
    saliency: ParameterSaliency
    images: Tensor
    labels: Tensor
    predicted: Tensor
    raw: Tensor
    usual: Tensor
    layout: Layout

    @property
    def filters(self) -> FilterIndex:
        """What the scores belong to."""
        return self.saliency.filters

    @property
    def scores(self) -> Tensor:
        """z-scores of all photos, ``(N, F)``."""
        return self.saliency.score(self.raw)

    @property
    def mistakes(self) -> Tensor:
        """Numbers of the misclassified photos."""
        return (self.predicted != self.labels).nonzero()[:, 0]

    @property
    def right(self) -> Tensor:
        """Numbers of the others."""
        return (self.predicted == self.labels).nonzero()[:, 0]

    @property
    def deep(self) -> list[str]:
        """Patterns of the layers that are not early."""
        return [pattern for pattern in self.layout.stages.values() if pattern not in self.layout.early]

    def columns(self, *patterns: str) -> Tensor:
        """Filters of some layers, ``(F,)`` bool."""
        return restrict_to_layers(torch.zeros(len(self.filters)), self.filters, *patterns).isfinite()


def squeezenet(options: argparse.Namespace) -> Subject:
    """SqueezeNet; the reference holds every second of the 900 photos."""
    blocks = ("3", "4", "6", "7", "9", "10", "11", "12")
    stages = {"conv1": "features.0"}
    stages |= {f"fire{number}": f"features.{block}.*" for number, block in enumerate(blocks, start=2)}
    patterns = list(stages.values())
    layout = Layout(stages, patterns[-2:], patterns[:5], size=25, times=1)
    parts = _photos(options, SQUEEZENET_INPUT)
    return _subject("squeezenet", load_squeezenet(options.data), parts, layout, options)


def efficientnet_lite1(options: argparse.Namespace) -> Subject:
    """EfficientNet-Lite1; the reference holds every second of the 900 photos."""
    stages = {"conv_stem": "conv_stem", **{f"blocks.{n}": f"blocks.{n}.*" for n in range(7)}, "conv_head": "conv_head"}
    patterns = list(stages.values())
    layout = Layout(stages, patterns[-2:], patterns[:5], size=10, times=1)
    parts = _photos(options, LITE1_INPUT)
    return _subject("efficientnet_lite1", load_lite1(options.data), parts, layout, options)


def _photos(options: argparse.Namespace, preparation: Preparation) -> list[Pictures]:
    """Every second photo for the reference, and the others."""
    every = load_photos(options.data / "imagenet_val900", options.photos, preparation)
    return [Pictures(one.images, one.labels) for one in (every.every_second(0), every.every_second(1))]


def resnet20(options: argparse.Namespace) -> Subject:
    """ResNet-20; reference and photos are different test images of CIFAR-10."""
    order = any_of(10000)[: 2 * options.pictures]
    parts = [Pictures(*cifar10_pictures(options.data, "test", order[start::2])) for start in (0, 1)]
    stages = {"conv1": "conv1", **{f"layer{n}": f"layer{n}.*" for n in (1, 2, 3)}}
    layout = Layout(stages, ["layer3.*"], ["conv1", "layer1.*"], size=100, times=2)
    return _subject("resnet20", real_models().resnet20(options.data), parts, layout, options)


NETWORKS = {"squeezenet": squeezenet, "resnet20": resnet20, "efficientnet_lite1": efficientnet_lite1}


def _subject(
    name: str, model: nn.Module, parts: Sequence[Pictures], layout: Layout, options: argparse.Namespace
) -> Subject:
    """With the reference of the first part and profiles of both, from files or made now."""
    usual, others = parts
    file, rows = (options.work / f"{name}.{what}.safetensors" for what in ("reference", "rows"))
    if not file.exists():
        batches = list(zip(usual.images.split(layout.size), usual.labels.split(layout.size), strict=True))
        Reference.fit(model, batches, total=len(usual.labels)).save(file)
    saliency = ParameterSaliency(model, Reference.load(file))
    if not rows.exists():
        both = {"raw": others, "usual": usual}
        found = {key: saliency.profiler(one.images, one.labels, None, layout.size) for key, one in both.items()}
        save_file({key: one.detach().contiguous() for key, one in found.items()}, rows)
    known = load_file(rows)
    predicted = scores_of(model, others.images).argmax(dim=1)
    return Subject(name, model, saliency, others.images, others.labels, predicted, known["raw"], known["usual"], layout)


def rankings(subject: Subject, places: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Makers of a score for every filter and photo, ``(n, F)`` or ``(F,)``, by arm."""
    scores, raw = subject.scores[places], subject.raw[places]
    return {
        "z-score": lambda: scores,
        "least salient": lambda: -scores,
        "raw gradient": lambda: raw,
        "POT": lambda: ties_by(POTSaliency(subject.model, subject.saliency.reference).score(raw), scores),
        "last stage": lambda: restrict_to_layers(scores, subject.filters, *subject.layout.last),
        "random": lambda: random_ranking(subject.filters, len(places)),
        "magnitude": lambda: magnitude_ranking(subject.model, subject.filters),
        "longest step": lambda: squared_gradients(subject, places),
    }


def squared_gradients(subject: Subject, places: Tensor) -> Tensor:
    """Squared length of the step that each filter would take, ``(n, F)``: what a small step takes off the loss."""
    weights = [subject.model.get_submodule(layer).weight for layer in subject.filters.layers]
    rows = []
    for place in places.tolist():
        part = slice(place, place + 1)
        with torch.enable_grad():
            loss = cross_entropy(subject.model(subject.images[part]), subject.labels[part])
            gradients = torch.autograd.grad(loss, weights)
        rows.append(torch.cat([one.square().flatten(1).sum(dim=1) for one in gradients]))
    return torch.stack(rows)


def controls(subject: Subject, options: argparse.Namespace) -> ControlImages:
    """Correctly classified photos that see every change too."""
    places = subject.right[: options.pool]
    return ControlImages(subject.images[places], subject.labels[places], per_mistake=options.controls)


def kept_curve(path: Path, make: Callable[[], InterventionCurve]) -> InterventionCurve:
    """A curve that was saved before, or that is made and saved now."""
    if not path.exists():
        curve = make()
        curve.save(path)
        LOG.info("%s: corrected %.3f", path.stem, curve.corrected[:, -1].double().mean())
    return InterventionCurve.load(path)


def curves(
    subject: Subject, kind: str, run: Callable[..., InterventionCurve], arms: Sequence[str], count: int, **settings: Any
) -> dict[str, InterventionCurve]:
    """One kind of intervention with every ranking, on the first mistakes."""
    options = settings.pop("options")
    places = subject.mistakes[:count]
    found = {}
    for arm in arms:
        ranking = rankings(subject, places)[arm]
        name = f"{subject.name}-{kind}-{arm.replace(' ', '_')}.safetensors"
        found[arm] = kept_curve(
            options.work / name,
            lambda ranking=ranking: run(
                subject.model,
                subject.images[places],
                subject.labels[places],
                ranking(),
                subject.filters,
                controls=controls(subject, options),
                show_progress=False,
                **settings,
            ),
        )
    return found


def all_curves(subject: Subject, options: argparse.Namespace, part: str) -> dict[str, dict[str, InterventionCurve]]:
    """The curves of one part, by kind and arm."""
    many, few = (subject.layout.times * count for count in (options.mistakes, options.few))
    if part == "knocked":
        found = curves(subject, "knocked", knock_out_curve, KNOCKED, many, k=options.most, options=options)
        return {"knocked": found}
    if part == "tuned":
        settings = {"k": options.most // 2, "learning_rate": RATE, "options": options}
        return {"tuned": curves(subject, "tuned", fine_tune_curve, TUNED, many, **settings)}
    if part == "rates":
        return {
            f"rate{rate:g}": curves(
                subject,
                f"rate{rate:g}",
                fine_tune_curve,
                ("z-score", "random", "raw gradient"),
                few,
                k=options.most // 2,
                learning_rate=rate,
                options=options,
            )
            for rate in OTHER_RATES
        }
    return {
        kind: curves(
            subject, kind, perturb_curve, DISTURBED, few, k=options.most // 2, relative=relative, options=options
        )
        for kind, relative in (("noise", False), ("relative_noise", True))
    }


def profiles(subject: Subject) -> dict[str, Any]:
    """How far profiles of mistakes lie from those of correct images, as a whole and as shares of their sum."""
    wrong = subject.predicted != subject.labels
    reference = subject.saliency.reference
    shares, usual = (rows.double() / rows.double().sum(dim=1, keepdim=True) for rows in (subject.raw, subject.usual))
    spread = usual.std(dim=0)
    forms = {
        "z": subject.scores.double(),
        "share": torch.where(spread > 0, (shares - usual.mean(dim=0)) / spread.clamp(min=1e-30), 0.0),
    }
    logits = scores_of(subject.model, subject.images)
    loss = cross_entropy(logits, subject.labels, reduction="none").double()
    found: dict[str, Any] = {
        "mistakes": int(wrong.sum()),
        "right": int((~wrong).sum()),
        "reference": 0 if reference is None else reference.count,
        "auc of mean z": _auc(forms["z"].mean(dim=1), wrong),
        "auc of confidence": _auc(-logits.softmax(dim=1).amax(dim=1), wrong),
        "correlation with loss": _correlation(forms["z"].mean(dim=1), loss),
        "loss": {"mistakes": interval(loss[wrong]), "right": interval(loss[~wrong])},
        "counts": [[layer, count] for layer, count in subject.filters.counts.items()],
        "mean of mistakes": forms["z"][wrong].mean(dim=0).tolist(),
        "mean of right": forms["z"][~wrong].mean(dim=0).tolist(),
        "filters higher": (forms["z"][wrong].mean(dim=0) > forms["z"][~wrong].mean(dim=0)).double().mean().item(),
    }
    for form, rows in forms.items():
        for stage, pattern in {"all": "*", **subject.layout.stages}.items():
            here = rows[:, subject.columns(pattern)].mean(dim=1)
            found[f"{form} {stage}"] = {
                "mistakes": interval(here[wrong]),
                "right": interval(here[~wrong]),
                "difference": _difference(here[wrong], here[~wrong]),
            }
    return found


def interval(values: Tensor) -> list[float]:
    """Mean and the ends of its 95 % bootstrap interval."""
    return bootstrap_means(values.reshape(-1, 1))[:, 0].tolist()


def _difference(one: Tensor, other: Tensor, resamples: int = 1000) -> list[float]:
    """Difference of two groups' means, with its 95 % bootstrap interval."""
    generator = torch.Generator().manual_seed(0)
    means = [
        rows[torch.randint(len(rows), (resamples, len(rows)), generator=generator)].mean(dim=1) for rows in (one, other)
    ]
    ends = (means[0] - means[1]).quantile(torch.tensor([0.025, 0.975], dtype=means[0].dtype))
    return [(one.mean() - other.mean()).item(), *ends.tolist()]


def _auc(scores: Tensor, wrong: Tensor) -> float:
    """Probability that a mistake scores higher than a correct image."""
    gaps = scores[wrong][:, None] - scores[~wrong][None]
    return ((gaps > 0).double() + 0.5 * (gaps == 0).double()).mean().item()


def _correlation(one: Tensor, other: Tensor) -> float:
    ranks = torch.stack([values.argsort().argsort().double() for values in (one, other)])
    return torch.corrcoef(ranks)[0, 1].item()


def neighbour_shares(subject: Subject) -> dict[str, Any]:
    """How often the nearest neighbours of a mistake share its classes, against all other photos."""
    wrong = subject.mistakes
    spaces = {"all layers": None, "early layers": list(subject.layout.early), "deep layers": subject.deep}
    # What a label and a prediction alone tell: absolute gradient of the loss with respect to the class scores.
    probability = scores_of(subject.model, subject.images).double().softmax(dim=1)
    errors = (probability - torch.nn.functional.one_hot(subject.labels, probability.shape[1])).abs()
    rows = {"z": subject.scores, "raw": subject.raw, "class gradient": errors}
    found = {}
    for pool, places in (("all photos", torch.arange(len(subject.labels))), ("mistakes", wrong)):
        query = torch.isin(places, wrong).nonzero()[:, 0]
        same = _sharing(subject, places, query)
        everyone = torch.ones(len(query), len(places), dtype=torch.bool)
        everyone[torch.arange(len(query)), query] = False
        for space, layers in spaces.items():
            for kind, scores in rows.items():
                if kind != "z" and space != "all layers":
                    continue
                k = min(NEAREST, len(places) - 1)
                known = subject.filters if kind != "class gradient" else None
                near = neighbors(scores[places], query, k, filters=known, layers=layers).images
                found[f"{pool}, {space}, {kind}"] = {
                    what: {
                        "near": interval(table.gather(1, near).double().mean(dim=1)),
                        "nearest": interval(table.gather(1, near[:, :1]).double().mean(dim=1)),
                        "chance": interval((table & everyone).double().sum(dim=1) / everyone.sum(dim=1)),
                        "lift": interval(
                            table.gather(1, near).double().mean(dim=1)
                            - (table & everyone).double().sum(dim=1) / everyone.sum(dim=1)
                        ),
                    }
                    for what, table in same.items()
                }
    return found


def neighbour_panel(subject: Subject, shown: int = 4, k: int = 5) -> bytes:
    """The first mistakes with their nearest photos by early layers, left, and by deep ones, right, as a PNG."""
    query = subject.mistakes[:shown]
    spaces = {"early layers": list(subject.layout.early), "deep layers": subject.deep}
    names = CLASSES if subject.name == "resnet20" else None
    panels = new_panels(2 * (1.2 * k + 1.6), 1.85 * len(query) + 0.6, 1, 2)
    for axes, (space, layers) in zip(panels, spaces.items(), strict=True):
        near = neighbors(subject.scores, query, k, filters=subject.filters, layers=layers)
        places, back = torch.cat([query, near.images.flatten()]).unique(return_inverse=True)
        neighbor_grid(
            list(subject.images[places]),
            back[: len(query)],
            back[len(query) :].view(len(query), k),
            near.similarity,
            axes,
            labels=subject.labels[places],
            predicted=subject.predicted[places],
            names=names,
            title=space,
        )
    return to_png(panels[0], dpi=80)


def _sharing(subject: Subject, places: Tensor, query: Tensor) -> dict[str, Tensor]:
    """Which photos share what with each query, ``(Q, N)`` bool."""
    seen, true = subject.predicted[places], subject.labels[places]
    same_seen, same_true = (values[query][:, None] == values[None] for values in (seen, true))
    crossed = (seen[query][:, None] == true[None]) & (true[query][:, None] == seen[None])
    found = {
        "predicted class": same_seen,
        "true class": same_true,
        "confusion pair": (same_seen & same_true) | crossed,
    }
    if len(subject.labels.unique()) > 10:
        found["true class at most 10 apart"] = (true[query][:, None] - true[None]).abs() <= 10
    return found


def other_mistakes(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """Whether the step that a mistake asks for cures its nearest neighbours more often than random other mistakes."""
    places = subject.mistakes[: subject.layout.times * options.steps]
    scores = subject.scores[places]
    count = len(places)
    width = min(TRIED, count - 1)
    near = {
        name: neighbors(scores, range(count), width, filters=subject.filters, layers=layers).images
        for name, layers in (
            ("all layers", None),
            ("early layers", list(subject.layout.early)),
            ("deep layers", subject.deep),
        )
    }
    drawn = torch.rand(count, count, generator=torch.Generator().manual_seed(0)).fill_diagonal_(-1)
    near["random"] = drawn.argsort(dim=1, descending=True)[:, :width]
    labels, predicted = subject.labels[places], subject.predicted[places]
    ranking = {name: rankings(subject, places)[name]() for name in ("z-score", "random")}
    found = {}
    for arm, rate in (("z-score", RATE), ("z-score", 0.003), ("random", RATE)):
        every = step_transfer(
            subject.model,
            subject.images[places],
            labels,
            ranking[arm],
            subject.filters,
            others=torch.cat(list(near.values()), dim=1),
            k=options.most // 2,
            learning_rate=rate,
            show_progress=False,
        )
        starts = range(0, every.others.shape[1], width)
        parts = dict(zip(near, starts, strict=True))
        cured = {name: every.corrected[:, at : at + width].double() for name, at in parts.items()}
        rise = {name: every.change_of_true[:, at : at + width] for name, at in parts.items()}
        same = {name: predicted[near[name]] == predicted[:, None] for name in near}
        found[f"{arm}, {rate:g}"] = {
            "own": interval(every.own.double()),
            "cured": {name: interval(values.mean(dim=1)) for name, values in cured.items()},
            "rise": {name: interval(values.mean(dim=1)) for name, values in rise.items()},
            "minus random": {name: interval(cured[name].mean(dim=1) - cured["random"].mean(dim=1)) for name in cured},
            "rise minus random": {name: interval(rise[name].mean(dim=1) - rise["random"].mean(dim=1)) for name in rise},
            "same prediction": {name: values.double().mean().item() for name, values in same.items()},
        }
    return found


def whole_step(subject: Subject, rate: float, options: argparse.Namespace, watched: int = 8) -> dict[str, Any]:
    """A step of the whole network, biases, batch norms and classifier included, and what it breaks."""
    model, places = subject.model, subject.mistakes[: subject.layout.times * options.mistakes]
    generator = torch.Generator().manual_seed(0)
    rows = []
    parameters = list(model.parameters())
    for place in places.tolist():
        right = subject.right[torch.randperm(len(subject.right), generator=generator)[:watched]]
        image, label = subject.images[place : place + 1], subject.labels[place : place + 1]
        before = scores_of(model, image).double().softmax(dim=1)[0]
        with torch.enable_grad():
            gradients = torch.autograd.grad(cross_entropy(model(image), label), parameters)
        kept = [one.detach().clone() for one in parameters]
        with torch.no_grad():
            for one, gradient in zip(parameters, gradients, strict=True):
                one.sub_(rate * gradient)
            scores = scores_of(model, torch.cat([image, subject.images[right]]))
            for one, value in zip(parameters, kept, strict=True):
                one.copy_(value)
        after, seen = scores.double().softmax(dim=1)[0], scores.argmax(dim=1)
        wrong = subject.predicted[place]
        rows.append(
            [
                (after - before)[wrong].item(),
                (after - before)[label[0]].item(),
                float(seen[0] == label[0]),
                (seen[1:] != subject.labels[right]).double().mean().item(),
            ]
        )
    names = ("change of wrong class", "change of true class", "corrected", "correct images broken")
    return {name: interval(values) for name, values in zip(names, torch.tensor(rows).double().T, strict=True)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that are asked for."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.networks:
        subject = NETWORKS[name](options)
        LOG.info("%s: %d photos, %d mistakes", name, len(subject.labels), len(subject.mistakes))
        for part in options.parts:
            run_part(part, subject, options)


def run_part(part: str, subject: Subject, options: argparse.Namespace) -> None:
    """One part on one network; results go to ``NETWORK-PART.json``, curves to files of their own."""
    if part in CURVES:
        all_curves(subject, options, part)
        return
    results = Results(options.work / f"{subject.name}-{part}.json")
    if part == "profiles":
        results.once("profiles", lambda: profiles(subject))
    elif part == "neighbours":
        results.once("neighbours", lambda: neighbour_shares(subject))
        panel = fewer_colours(neighbour_panel(subject))
        (options.work / f"parameter_saliency_neighbours_{subject.name}.png").write_bytes(panel)
    elif part == "others":
        results.once("others", lambda: other_mistakes(subject, options))
    elif part == "whole":
        for rate in (RATE, *OTHER_RATES):
            results.once(f"{rate:g}", lambda rate=rate: whole_step(subject, rate, options))
    elif subject.name == "squeezenet":
        from parameter_saliency_pixels import run_pixels  # noqa: PLC0415 -- it imports this module

        run_pixels(part, subject, results, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("parameter-saliency"), help="folder for curves and results")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, help="which")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="which")
    parser.add_argument("--photos", type=int, default=None, help="photos of imagenet_val900; all by default")
    parser.add_argument("--pictures", type=int, default=2000, help="of CIFAR-10, for the reference and again to judge")
    parser.add_argument("--mistakes", type=int, default=64, help="mistakes of a curve; on ResNet-20 twice as many")
    parser.add_argument("--few", type=int, default=32, help="mistakes of the curves of other rates and of noise")
    parser.add_argument(
        "--steps", type=int, default=48, help="mistakes whose step is tried on others; twice on ResNet-20"
    )
    parser.add_argument("--maps", type=int, default=32, help="mistakes, and correct images, with maps")
    parser.add_argument("--cascade", type=int, default=8, help="mistakes whose maps are made with random layers")
    parser.add_argument("--most", type=int, default=50, help="filters knocked out; half as many are fine-tuned")
    parser.add_argument("--controls", type=int, default=1, help="correct photos that see each mistake's changes")
    parser.add_argument(
        "--pool", type=int, default=None, help="correct photos that these are drawn from; all by default"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
