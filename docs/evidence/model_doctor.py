"""Does Model Doctor cure? Treatments against plain fine-tuning and shuffled masks, ablations, noise, and diagnosis.

``python docs/evidence/model_doctor.py`` runs the parts that are asked for. Each finished run is written to
``model_doctor.json`` in the work folder, and not made again. ``model_doctor_tables.py`` makes tables and figures of it.
"""

import argparse
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from cifar10 import any_of, cifar10_pictures, real_models
from results import Results, auc_interval
from scipy.stats import rankdata, spearmanr
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from captum_paramsal import Diagnosis, Findings, ModelDoctor
from captum_paramsal.demo import load_model, make_scenes, normalize
from captum_paramsal.demo.scenes import SPLITS
from captum_paramsal.errors import ConstantEvidenceWarning, FewSamplesWarning, TreatmentError
from captum_paramsal.functional import channel_correlation, disturbances
from captum_paramsal.repair import Constraints, Treatment, foreground, treat

LOG = logging.getLogger("model_doctor")
TUNING_SEED = 100
TEST_SEED = 31
SHIFTED = 0.6  # Probability that the patch of a validation or test scene indicates its class; 0.94 in training.
MARGIN = 9  # Pixels around the object that count as foreground: the paper's 30 at 224, at 64.
BOUNDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
STRENGTHS = {"gradient": (1.0, 10.0, 100.0, 1000.0), "contribution": (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)}


@dataclass(frozen=True)
class Images:
    """Inputs ``(N, 3, H, W)``, labels ``(N,)``; in scenes also objects ``(N, H, W)`` and classes of cues ``(N,)``."""

    inputs: Tensor
    labels: Tensor
    masks: Tensor | None = None
    cues: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> "Images":
        extra = (None if one is None else one[chosen] for one in (self.masks, self.cues))
        return Images(self.inputs[chosen], self.labels[chosen], *extra)

    def batches(self, size: int = 250) -> list[tuple[Tensor, Tensor]]:
        """Batches (inputs, labels)."""
        return list(zip(self.inputs.split(size), self.labels.split(size), strict=True))


@dataclass(frozen=True)
class Task:
    """A network, what it is treated with, what strengths are chosen on, and what the result is counted on."""

    name: str
    model: nn.Module
    train: Images
    validation: Images
    test: Images
    steps: int
    batch: int
    rate: float = 0.001
    epochs: int = 1
    diagnosed: dict[tuple[str, str], Diagnosis] = field(default_factory=dict)

    def diagnosis(self, layer: str, evidence: str) -> Diagnosis:
        """What the classes rely on, from training images."""
        key = layer, evidence
        if key not in self.diagnosed:
            doctor = doctor_of(self.model, layer, evidence)
            self.diagnosed[key] = fitted(doctor, self.train[:2048])
        return self.diagnosed[key]


@dataclass(frozen=True)
class Arm:
    """One way to treat; plain fine-tuning where both strengths are 0."""

    evidence: str = "contribution"
    layer: str = "block2"
    channel: float = 0.0
    space: float = 0.0
    shuffled: bool = False
    annotated: int | None = None
    margin: int = 0
    boxes: bool = False

    def __str__(self) -> str:
        if not (self.channel or self.space):
            return "plain"
        strengths = (f"{name} {value:g}" for name, value in (("channel", self.channel), ("space", self.space)) if value)
        notes = ["shuffled"] * self.shuffled + [f"margin {self.margin}"] * bool(self.margin)
        notes += ["boxes"] * self.boxes
        notes += [] if self.annotated is None else [f"{self.annotated} annotated"]
        return ", ".join([f"{self.evidence} at {self.layer}", *strengths, *notes])


def doctor_of(model: nn.Module, layer: str, evidence: str, bound: float = 0.1, copies: int = 10) -> ModelDoctor:
    """A doctor that takes gradients, contributions, or only positive contributions."""
    reduce: Literal["abs", "relu"] = "relu" if evidence.startswith("positive") else "abs"
    return ModelDoctor(model, layer, copies, bound, reduce=reduce, multiply_by_inputs=evidence.endswith("contribution"))


def fitted(doctor: ModelDoctor, images: Images) -> Diagnosis:
    """A diagnosis; the page says where evidence is constant or images are few."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantEvidenceWarning)
        warnings.simplefilter("ignore", FewSamplesWarning)
        return doctor.fit(images.batches(), show_progress=False)


def demo(options: argparse.Namespace) -> Task:
    """The embedded classifier and its scenes; the validation scenes begin with the embedded ones, the test is new."""
    train = make_scenes(**{**SPLITS["train"], "n": options.size(SPLITS["train"]["n"])})
    validation, test = (
        make_scenes(options.size(n), seed=seed, cue_agreement=SHIFTED)
        for n, seed in ((960, SPLITS["validation"]["seed"]), (options.demo_test, TEST_SEED))
    )
    parts = (
        Images(channels_last(normalize(one.images)), one.labels, one.masks, one.cue_labels)
        for one in (train, validation, test)
    )
    return Task("demo", channels_last(load_model()), *parts, steps=options.size(64), batch=32)


def cifar(options: argparse.Namespace) -> Task:
    """The ResNet-20 and CIFAR-10; training and validation images are different training images."""
    order = any_of(50000)[: options.size(5000)]
    kept = len(order) - options.size(800)
    train, validation = (cifar_images(options.data, "train", chosen) for chosen in (order[:kept], order[kept:]))
    test = cifar_images(options.data, "test", any_of(10000)[: options.size(options.cifar_test)])
    model = channels_last(real_models().resnet20(options.data))
    return Task("cifar", model, train, validation, test, steps=options.size(60), batch=32)


def cifar_images(data: Path, split: str, chosen: np.ndarray) -> Images:
    """Images of CIFAR-10 as the network takes them."""
    inputs, labels = cifar10_pictures(data, split, chosen)
    return Images(channels_last(inputs), labels)


def channels_last(value: Any) -> Any:
    """A tensor or a network in the memory format that convolutions are fast in."""
    return value.to(memory_format=torch.channels_last)


def predicted(model: nn.Module, images: Images) -> Tensor:
    """Class scores ``(N, C)``."""
    with torch.no_grad():
        return torch.cat([model(inputs) for inputs, _ in images.batches()])


def shuffled_within(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A permutation that gives every image another image of its class, where there are two."""
    order = torch.arange(len(labels))
    for label in labels.unique():
        here = (labels == label).nonzero()[:, 0]
        here = here[torch.randperm(len(here), generator=generator)]
        order[here] = here.roll(1)
    return order


def constraints_of(task: Task, arm: Arm, generator: torch.Generator) -> Constraints | None:
    """What an arm asks of the treatment; a shuffled one has as many relevant channels per class, but random ones."""
    if not (arm.channel or arm.space):
        return None
    diagnosis = task.diagnosis(arm.layer, arm.evidence)
    relevant = diagnosis.relevant()
    if arm.shuffled:
        relevant = torch.stack([row[torch.randperm(len(row), generator=generator)] for row in relevant])
    return Constraints.of(diagnosis, relevant=relevant, channel=arm.channel, space=arm.space)


def foreground_of(images: Images, arm: Arm, generator: torch.Generator) -> Tensor | None:
    """Objects of the annotated images, with a margin; shuffled, those of other images of the class."""
    if not arm.space or images.masks is None:
        return None
    masks = images.masks[shuffled_within(images.labels, generator)] if arm.shuffled else images.masks
    if arm.boxes:
        masks = masks.any(dim=1)[:, None, :] & masks.any(dim=2)[:, :, None]
    found = foreground((masks.shape[1], masks.shape[2]), masks=masks, margin=arm.margin)
    if arm.annotated is not None:
        found[arm.annotated :] = 1.0
    return found


def treatment_of(task: Task, arm: Arm, seed: int) -> Treatment:
    """One treatment: the same images in the same order for every arm of a seed; of several epochs the most accurate."""
    generator = torch.Generator().manual_seed(seed)
    images = task.train[torch.randperm(len(task.train), generator=generator)[: task.steps * task.batch]]
    constraints, masks = constraints_of(task, arm, generator), foreground_of(images, arm, generator)
    batches = [
        (*pair, *(() if masks is None else (masks[start : start + task.batch],)))
        for start, pair in zip(range(0, len(images), task.batch), images.batches(task.batch), strict=True)
    ]
    return treat(
        task.model, batches, task.validation[:16].batches(), constraints,
        validation_batches=None if task.epochs == 1 else task.validation.batches(),
        epochs=task.epochs, learning_rate=task.rate, allow_worse=True, seed=seed, show_progress=False,
    )  # fmt: skip


def treated(task: Task, arm: Arm, seed: int) -> dict[str, Any]:
    """What came of one treatment; what the tuning seed's networks say to the test images is not looked at."""
    try:
        done = treatment_of(task, arm, seed)
    except TreatmentError as error:
        return {"failed": str(error), "validation": 0.0, "loss": float("inf")}
    scores = predicted(done.model, task.validation)
    right = scores.argmax(dim=1) == task.validation.labels
    result = {
        "validation": right.double().mean().item(),
        "loss": cross_entropy(scores, task.validation.labels).item(),
        "epoch": done.best_epoch,
        "terms": done.history[done.best_epoch],
        "weights": dict(done.weights),
    }
    if seed != TUNING_SEED:
        result["test"] = text_of(predicted(done.model, task.test).argmax(dim=1))
    return result


def text_of(classes: Tensor) -> str:
    """Predictions, a digit each."""
    return "".join(map(str, classes.tolist()))


def untreated(task: Task) -> dict[str, Any]:
    """Predictions of the network as it is, with what the test images are."""
    cues = torch.full_like(task.test.labels, -1) if task.test.cues is None else task.test.cues
    scores = predicted(task.model, task.validation)
    return {
        "test": text_of(predicted(task.model, task.test).argmax(dim=1)),
        "labels": text_of(task.test.labels),
        "cues": cues.tolist(),
        "validation": (scores.argmax(dim=1) == task.validation.labels).double().mean().item(),
        "loss": cross_entropy(scores, task.validation.labels).item(),
    }


def ran(results: Results, task: Task, arm: Arm, seed: int) -> dict[str, Any]:
    """The run of an arm and a seed, made now or earlier."""
    found: dict[str, Any] = results.once(f"{task.name} | {arm} | {seed}", lambda: treated(task, arm, seed))
    return found


def tuned(results: Results, task: Task, arm: Arm, name: str, strengths: Sequence[float] = ()) -> Arm:
    """An arm with the strength of one constraint that is best on the validation images, with a seed of its own."""
    arms = [replace(arm, **{name: strength}) for strength in strengths or STRENGTHS[arm.evidence]]
    rows = [ran(results, task, one, TUNING_SEED) for one in arms]
    return max(zip(arms, rows, strict=True), key=lambda pair: (pair[1]["validation"], -pair[1]["loss"]))[0]


def final(results: Results, task: Task, arms: Sequence[Arm], seeds: int) -> None:
    """Run arms with every seed, seed by seed."""
    results.once(f"{task.name} | untreated", lambda: untreated(task))
    for seed in range(seeds):
        for arm in arms:
            ran(results, task, arm, seed)


def main_arms(results: Results, task: Task, sites: Sequence[tuple[str, str]]) -> list[Arm]:
    """Plain fine-tuning and, at every site, each constraint with its best strength, both, and each shuffled."""
    arms = [Arm()]
    for evidence, layer in sites:
        one = [tuned(results, task, Arm(evidence, layer), "channel")]
        if task.train.masks is not None:
            one += [tuned(results, task, Arm(evidence, layer, margin=MARGIN), "space")]
            arms.append(replace(one[1], channel=one[0].channel))
        arms += [*one, *(replace(arm, shuffled=True) for arm in one)]
    return arms


def treatments(results: Results, options: argparse.Namespace, task: Task) -> None:
    """Treatment of the demo, or of the ResNet-20."""
    last = {"demo": ("block2", "block2.bn2"), "cifar": ("layer3",)}[task.name]
    sites = [("contribution", last[0]), *(("gradient", layer) for layer in last)]
    final(results, task, main_arms(results, task, sites), options.seeds)


def longer(results: Results, options: argparse.Namespace, task: Task) -> None:
    """Four times the steps, for the space constraint and its controls, with contributions of both kinds."""
    task = replace(task, name="demo longer", epochs=4)
    best = [
        tuned(results, task, Arm(evidence, margin=MARGIN), "space", (3.0, 10.0, 30.0))
        for evidence in ("contribution", "positive contribution")
    ]
    final(results, task, [Arm(), *best, *(replace(arm, shuffled=True) for arm in best)], options.seeds)


def ablations(results: Results, options: argparse.Namespace, task: Task) -> None:
    """Annotated images, margins around the object, and depth of the layer, for the space constraint."""
    best = tuned(results, task, Arm(margin=MARGIN), "space")
    whole = task.steps * task.batch
    # A relative strength is measured over all images: the fewer annotated, the heavier it weighs on each of these.
    arms = [
        replace(best, annotated=whole // part, space=best.space / scale) for part in (4, 16, 64) for scale in (1, part)
    ]
    arms += [replace(best, margin=margin) for margin in (0, 2, 5, 15, 22)]
    final(results, task, [Arm(), best, *arms, replace(best, boxes=True)], options.seeds)
    for evidence in ("contribution", "gradient"):
        for layer in ("block1", "stem"):
            final(results, task, [tuned(results, task, Arm(evidence, layer, margin=MARGIN), "space")], options.seeds)


def findings_of(doctor: ModelDoctor, diagnosis: Diagnosis, images: Images) -> Findings:
    """What every image shows, mistake or not."""
    parts = [
        doctor.diagnose(
            inputs, labels, diagnosis, mistakes_only=False,
            masks=None if images.masks is None else images.masks[250 * number : 250 * number + 250].double(),
        )
        for number, (inputs, labels) in enumerate(images.batches())
    ]  # fmt: skip
    return Findings.joined(parts)


def diagnosed(train: Images, test: Images, doctor: ModelDoctor, last: nn.Module) -> dict[str, Any]:
    """How well a diagnosis separates mistakes from correct images, and what its matrix contains."""
    diagnosis = fitted(doctor, train)
    found = findings_of(doctor, diagnosis, test)
    wrong = (found.labels != found.predicted).numpy()
    share = found.wrong.double().mean(dim=1).numpy()
    scores = {
        "deviation": found.deviation.numpy(),
        "wrong channels": share,
        "1 - confidence": 1 - found.confidence.numpy(),
    }
    scores["deviation and confidence"] = rankdata(scores["deviation"]) + rankdata(scores["1 - confidence"])
    if test.masks is not None:
        scores["background"] = found.background.numpy()
    overlap, chance = diagnosis.overlap().numpy(), diagnosis.overlap_by_chance().numpy()
    other = ~np.eye(len(overlap), dtype=bool)
    weights = last.weight.detach().flatten(1).abs().double()
    result = {
        "images": len(wrong),
        "mistakes": int(wrong.sum()),
        "constant": diagnosis.is_constant,
        "auc": {name: auc_interval(np.nan_to_num(row), wrong) for name, row in scores.items()},
        "share of wrong channels": [share[wrong].mean(), share[~wrong].mean()],
        "sparsity": np.nanmean(diagnosis.sparsity().numpy()),
        "overlap": float(np.nanmean(overlap[other])),
        "overlap by chance": float(np.nanmean(chance[other])),
    }
    if test.masks is not None:
        result["background share"] = [
            found.background[wrong].nanmean().item(),
            found.background[~wrong].nanmean().item(),
        ]
        result["background area"] = found.background_area.mean().item()
    if weights.shape[1] == diagnosis.channels:
        rows = [spearmanr(one, two).statistic for one, two in zip(diagnosis.correlation, weights, strict=True)]
        result["spearman with the classifier"] = float(np.mean(rows))
    return result


def diagnoses(results: Results, options: argparse.Namespace, task: Task) -> None:
    """Diagnosis at several layers of the demo, or of the ResNet-20."""
    layers = {"demo": ("block2", "block2.bn2", "block1"), "cifar": ("layer3", "layer3.2.bn2", "layer2")}[task.name]
    last = {"demo": "classifier", "cifar": "linear"}[task.name]
    train, test = task.train[: options.size(3000)], task.test[: options.size(2000)]
    for layer in layers:
        for evidence in ("gradient", "contribution"):
            results.once(
                f"diagnosis | {task.name} | {layer} | {evidence}",
                lambda layer=layer, evidence=evidence: diagnosed(
                    train, test, doctor_of(task.model, layer, evidence), task.model.get_submodule(last)
                ),
            )


def photos(results: Results, options: argparse.Namespace) -> None:
    """SqueezeNet: classes known from one half of the photos, mistakes from the other; few for tail probabilities."""
    real = real_models()
    model = channels_last(real.squeezenet(options.data))

    def found(evidence: str) -> dict[str, Any]:
        inputs, labels = real.imagenet(options.data, options.size(900))
        train, test = (Images(inputs[start::2], labels[start::2]) for start in (0, 1))
        doctor = doctor_of(model, "features", evidence, copies=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FewSamplesWarning)
            known = [doctor.fit(one.batches(50), confidence=0.0, show_progress=False) for one in (train, test)]
        scores: list[np.ndarray] = []
        for diagnosis, images in zip(known, (test, train), strict=True):
            for batch, target in images.batches(50):
                one = doctor.diagnose(batch, target, diagnosis, mistakes_only=False)
                scores.append(np.stack([one.deviation, 1 - one.confidence, one.labels != one.predicted]))
        deviation, doubt, wrong = np.concatenate(scores, axis=1)
        seen = ~np.isnan(deviation)
        wrong = wrong[seen] > 0
        pairs = {"deviation": deviation[seen], "1 - confidence": doubt[seen]}
        return {
            "images": int(seen.sum()),
            "mistakes": int(wrong.sum()),
            "auc": {name: auc_interval(row, wrong) for name, row in pairs.items()},
            "sparsity": np.nanmean(known[0].sparsity().numpy()),
        }

    for evidence in ("gradient", "contribution"):
        results.once(f"diagnosis | squeezenet | features | {evidence}", lambda evidence=evidence: found(evidence))


def adversarial(model: nn.Module, images: Images, step: float) -> Tensor:
    """One step of every pixel against the label (FGSM), in the units of the input."""
    inputs = images.inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(model(inputs), images.labels, reduction="sum"), inputs)
    return (inputs + step * gradient.sign()).detach()


def maps_of(model: nn.Module, layer: str, inputs: Tensor) -> Tensor:
    """What a layer returns."""
    seen: list[Tensor] = []
    with (
        torch.no_grad(),
        model.get_submodule(layer).register_forward_hook(lambda *given: seen.append(given[2].clone())),
    ):
        model(inputs)
    return seen[0]


def kept(model: nn.Module, layer: str, inputs: Tensor, bound: float, copies: int) -> Tensor:
    """Share of perturbed copies of the maps with the prediction of the unperturbed ones, ``(N,)``."""
    before = model(inputs).argmax(dim=1)
    shape = tuple(maps_of(model, layer, inputs[:1]).shape[1:])
    same = []
    for one in disturbances(copies, shape, bound, "uniform", 0):
        with model.get_submodule(layer).register_forward_hook(lambda *given, one=one: given[2] + one):
            same.append(model(inputs).argmax(dim=1) == before)
    return torch.stack(same).double().mean(dim=0)


def noisy(model: nn.Module, groups: dict[str, Tensor], layer: str, bound: float, copies: int) -> dict[str, Any]:
    """By group: predictions kept under noise, how close the class channel correlation stays, and what both tell."""
    values: dict[str, list[np.ndarray]] = {}
    for group, inputs in groups.items():
        with torch.no_grad():
            same = kept(model, layer, inputs, bound, copies)
            target = model(inputs).argmax(dim=1)
        rows = []
        for number, width in ((0, 0.0), (copies, bound)):
            doctor = doctor_of(model, layer, "gradient", width, number)
            rows.append(channel_correlation(doctor.attribute(inputs, target=target, internal_batch_size=50)))
        values[group] = [same.numpy(), cosine_similarity(rows[0].double(), rows[1].double(), dim=1).numpy()]
    (normal, other), adverse = values.values(), np.repeat([False, True], [len(one) for one in groups.values()])
    return {
        "kept": {group: _interval(rows[0]) for group, rows in values.items()},
        "cosine": {group: _interval(rows[1]) for group, rows in values.items()},
        "auc": [auc_interval(-np.concatenate(pair), adverse) for pair in zip(normal, other, strict=True)],
    }


def _interval(values: np.ndarray, resamples: int = 1000) -> list[float]:
    rng = np.random.default_rng(0)
    drawn = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    return [float(values.mean()), *np.quantile(drawn, [0.025, 0.975]).tolist()]


def noise(results: Results, options: argparse.Namespace) -> None:
    """Images that the ResNet-20 gets right, and the same after a step against them that changes the prediction."""
    model = channels_last(real_models().resnet20(options.data))
    images = cifar_images(options.data, "test", any_of(10000)[: options.size(400)])
    images = images[predicted(model, images).argmax(dim=1) == images.labels]
    moved = adversarial(model, images, options.fgsm / 255 / 0.225)
    with torch.no_grad():
        flipped = (model(moved).argmax(dim=1) != images.labels).nonzero()[: options.size(100), 0]
        groups = {"normal": images.inputs[flipped], "adversarial": moved[flipped]}
        sure = {name: model(inputs).softmax(dim=1).amax(dim=1) for name, inputs in groups.items()}
    about = {name: values.median().item() for name, values in sure.items()}
    doubt = 1 - torch.cat(list(sure.values())).numpy()
    adverse = np.repeat([False, True], len(flipped))
    results.once(
        "noise | groups", lambda: {"images": len(flipped), "confidence": about, "auc": auc_interval(doubt, adverse)}
    )
    for layer in ("layer2", "layer3.2.bn2"):
        spread = maps_of(model, layer, groups["normal"]).std().item()
        for unit, scale in (("absolute", 1.0), ("of the maps", spread)):
            for bound in BOUNDS[1:]:
                results.once(
                    f"noise | {layer} | {unit} | {bound:g}",
                    lambda layer=layer, scale=scale, bound=bound: {
                        "bound": scale * bound, **noisy(model, groups, layer, scale * bound, options.copies)
                    },
                )  # fmt: skip


PARTS = ("demo", "demo-diagnosis", "longer", "cifar", "cifar-diagnosis", "ablations", "noise", "photos")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what has not been run, and write ``model_doctor.json`` to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    results = Results(options.work / "model_doctor.json")
    sizes = {name: getattr(options, name) for name in ("fraction", "demo_test", "cifar_test", "fgsm", "copies")}
    if results.once("sizes", lambda: sizes) != sizes:
        message = f"Expected the sizes that the results in {options.work} have, {results.found['sizes']}, got {sizes}."
        raise SystemExit(message)
    tasks: dict[str, Task] = {}
    for part in options.parts:
        name = "demo" if part in {"ablations", "longer"} else part.partition("-")[0]
        if name in {"demo", "cifar"}:
            task = tasks[name] = tasks.get(name) or {"demo": demo, "cifar": cifar}[name](options)
            {"longer": longer, "ablations": ablations, name: treatments}.get(part, diagnoses)(results, options, task)
        else:
            {"noise": noise, "photos": photos}[part](results, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    data = Path(os.environ.get("PARAMSAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder with models, cifar10 and imagenet_val900")
    parser.add_argument("--work", type=Path, default=Path("model-doctor"), help="folder for the results")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="what to run")
    parser.add_argument("--seeds", type=int, default=3, help="orders of the training images")
    parser.add_argument("--demo-test", type=int, default=2000, help="test scenes")
    parser.add_argument("--cifar-test", type=int, default=2500, help="test images of CIFAR-10")
    parser.add_argument("--fgsm", type=float, default=4.0, help="step of the adversarial images, of 255")
    parser.add_argument("--copies", type=int, default=5, help="perturbed copies in the noise study")
    parser.add_argument("--fraction", type=float, default=1.0, help="share of images and steps, for a quick look")
    options = parser.parse_args(arguments)
    options.size = lambda count: max(2, round(count * options.fraction))
    return options


if __name__ == "__main__":
    main()
