"""Which stages the top 20 filters of a mistake lie in: raw profile, z-scores and both POT fits under domain shift.

``python docs/evidence/depth_bias.py`` trains ResNet-18s on MNIST and on PACS without one domain, takes references,
scores the misclassified images of the other domain, and writes the tables and figures of ``depth_bias.md``. Finished
epochs and finished networks are kept in the work folder and not made again.
"""

import argparse
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from domain_features import feature_picture, feature_table, penultimate, separations
from PIL import Image
from results import Results, fewer_colours, markdown_table, percent
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, interpolate
from torch.utils.data import random_split
from torchvision.models import resnet18

from captum_paramsal import ParameterSaliency, POTSaliency, Reference
from captum_paramsal.files import Fingerprint
from captum_paramsal.filters import FilterIndex
from captum_paramsal.stats import MINIMUM_EXCESSES, FilterTails, Moments, UpperTail
from captum_paramsal.viz.style import PALETTE, new_panels, to_png

LOG = logging.getLogger("depth_bias")
PACS = ("photo", "art_painting", "cartoon", "sketch")
ARMS = ("raw profile", "z-score", "POT, exponential", "POT, mle")
REFERENCES = ("own_domain", "few", "own_mistakes", "other_domain")


@dataclass(frozen=True)
class Images:
    """Labelled images of one domain or split: ``pixels`` ``(N, C, H, W)`` uint8, ``labels`` ``(N,)`` int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> "Images":
        return Images(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Task:
    """A network's training set, its validation and reference set, the images of the other domain, and the recipe.

    Attributes:
        name: Of the network, and of its files.
        train: Images of the domains that are seen.
        validation: Of the same domains.
        origins: Domain of each validation image, as a number in ``seen``.
        seen: Names of these domains.
        shifted: Images of the other domain.
        other: Its name.
        side: Of what the network takes, in pixels.
        classes: How many.
        optimizer: Of the recipe, ``"sgd"`` or ``"adam"``.
    """

    name: str
    train: Images
    validation: Images
    origins: Tensor
    seen: tuple[str, ...]
    shifted: Images
    other: str
    side: int
    classes: int
    optimizer: str

    def batches(self, images: Images, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of what the network takes, ``(n, 3, side, side)`` in [-1, 1], with their labels."""
        for start in range(0, len(images), size):
            part = images[start : start + size]
            pixels = (part.pixels.float() / 255 - 0.5) / 0.5
            if pixels.shape[-1] != self.side:
                pixels = interpolate(pixels, size=(self.side, self.side), mode="bilinear")
            yield pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last), part.labels


def digits(data: Path) -> Task:
    """MNIST, and the digits of the street photos."""
    mnist = np.load(data / "mnist" / "mnist.npz")
    street = np.load(data / "street_digits446" / "street_digits446.npz")
    train, test = (
        Images(_tensor(mnist[f"x_{part}"])[:, None], _tensor(mnist[f"y_{part}"])) for part in ("train", "test")
    )
    shifted = Images(_tensor(street["x"]).permute(0, 3, 1, 2), _tensor(street["y"]))
    return Task(
        "mnist",
        _long(train),
        _long(test),
        torch.zeros(len(test), dtype=torch.int64),
        ("MNIST",),
        _long(shifted),
        "street digits",
        side=32,
        classes=10,
        optimizer="sgd",
    )


def domains(data: Path, held_out: str) -> Task:
    """PACS without one domain, split 80 to 20 with seed 40, and that domain."""
    pacs = np.load(data / "pacs64" / "pacs64_jpeg.npz")
    files, ends = pacs["jpeg"], pacs["offsets"]
    photos = [
        np.asarray(Image.open(io.BytesIO(files[start:end].tobytes())).convert("RGB")) for start, end in pairwise(ends)
    ]
    images = _long(Images(torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2), _tensor(pacs["y"])))
    names, numbers = [str(name) for name in pacs["domains"]], _tensor(pacs["domain"])
    outside = numbers == names.index(held_out)
    seen = tuple(name for name in names if name != held_out)
    inside = images[~outside]
    kept = round(0.8 * len(inside))
    train, validation = random_split(
        range(len(inside)), [kept, len(inside) - kept], generator=torch.Generator().manual_seed(40)
    )
    origins = [seen.index(names[int(number)]) for number in numbers[~outside][list(validation.indices)]]
    return Task(
        f"pacs-{held_out}",
        inside[list(train.indices)],
        inside[list(validation.indices)],
        torch.tensor(origins),
        seen,
        images[outside],
        held_out,
        side=images.pixels.shape[-1],
        classes=len(pacs["classes"]),
        optimizer="adam",
    )


def trained(
    task: Task, work: Path, epochs: int, batch: int = 256, seed: int = 0
) -> tuple[dict[str, nn.Module], list[dict[str, float]]]:
    """The networks of a task by name, and the history of their training.

    The first is the one of the best validation loss; where a later epoch ended the training, its network is the second.
    After every epoch the whole state is written to ``work``, from which a training that was stopped resumes.
    """
    torch.manual_seed(seed)
    model = resnet18(num_classes=task.classes).to(memory_format=torch.channels_last)
    for convolution in model.layer4.modules():
        if isinstance(convolution, nn.Conv2d) and convolution.padding == (1, 1) and convolution.stride == (1, 1):
            convolution.forward = partial(centre_tap, convolution)
    optimizer = (
        torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        if task.optimizer == "sgd"
        else torch.optim.Adam(model.parameters(), lr=1e-3)
    )
    best, state = work / f"{task.name}.safetensors", work / f"{task.name}.training.pt"
    history: list[dict[str, float]] = []
    if state.exists():
        saved = torch.load(state)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        history = saved["history"]
    elif epochs == 0:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, best)
    for epoch in range(len(history), epochs):
        order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        model.train()
        for inputs, labels in task.batches(task.train[order], batch):
            optimizer.zero_grad()
            cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        logits = predicted(model, task, task.validation)
        loss = cross_entropy(logits, task.validation.labels).item()
        if loss < min((row["loss"] for row in history), default=float("inf")):
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, best)
        history.append({"loss": loss, "accuracy": _accuracy(logits, task.validation)})
        LOG.info("%s epoch %d: %s", task.name, epoch + 1, history[-1])
        unfinished = state.with_suffix(".partial")
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}, unfinished)
        unfinished.replace(state)
    networks = {task.name: load_file(best)}
    if history and min(history, key=lambda row: row["loss"]) is not history[-1]:
        networks[f"{task.name}, last epoch"] = model.state_dict()
    return {name: _network(task, weights) for name, weights in networks.items()}, history


def _network(task: Task, weights: dict[str, Tensor]) -> nn.Module:
    model = resnet18(num_classes=task.classes)
    model.load_state_dict(weights)
    return model.eval()


def centre_tap(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    """A padded 3 x 3 convolution, without the weights that meet only padding where the maps are one pixel large.

    The same function at a third of the time that MNIST's training takes.
    """
    if maps.shape[-2:] == (1, 1):
        return conv2d(maps, convolution.weight[:, :, 1:2, 1:2])
    return conv2d(maps, convolution.weight, padding=1)


def predicted(model: nn.Module, task: Task, images: Images) -> Tensor:
    """Class scores ``(N, C)`` in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(inputs) for inputs, _ in task.batches(images, 256)])


def stages_of(filters: FilterIndex) -> tuple[list[str], Tensor]:
    """Names of the stages, and the stage number of every filter ``(F,)``.

    A stage is the first word of a layer's name, so the convolutions of the shortcuts belong to the stage they lie in.
    """
    of_layer = {layer: layer.partition(".")[0] for layer in filters.layers}
    names = list(dict.fromkeys(of_layer.values()))
    sizes = torch.tensor(list(filters.counts.values()))
    numbers = torch.tensor([names.index(stage) for stage in of_layer.values()])
    return names, numbers.repeat_interleave(sizes)


def top_shares(scores: Tensor, stages: Tensor, top: int, *, above_zero: bool) -> tuple[Tensor, Tensor]:
    """Shares of the stages among the highest-scoring filters, ``(N, stages)``, and how many were ranked, ``(N,)``.

    Args:
        scores: ``(N, F)``.
        stages: Stage number of every filter, ``(F,)``.
        top: How many filters are ranked, at most.
        above_zero: Rank only scores above 0: the filters beyond their thresholds, as the paper does.
    """
    values, order = scores.sort(dim=1, descending=True, stable=True)
    ranked = (values[:, :top] > 0) if above_zero else torch.ones_like(values[:, :top], dtype=torch.bool)
    counts = torch.zeros(len(scores), int(stages.max()) + 1, dtype=torch.float64)
    counts.scatter_add_(1, stages[order[:, :top]], ranked.double())
    number = ranked.sum(dim=1)
    return counts / number[:, None], number


def interval(trainings: Sequence[Tensor], resamples: int = 2000, seed: int = 0) -> Tensor:
    """Mean over trainings of the mean over images, and its 95 % percentile interval from resampling the images.

    Args:
        trainings: Of each, a row for every image, ``(N, S)``, NaN where the image is not counted; the same images.
        resamples: How often.
        seed: Of the resampling.

    Returns:
        ``(3, S)``: mean, low and high.
    """
    count = len(trainings[0])
    drawn = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(seed))
    times = torch.zeros(drawn.shape, dtype=torch.float64)
    times.scatter_add_(1, drawn, torch.ones((), dtype=torch.float64).expand_as(drawn))
    # The images themselves come first, each once.
    times = torch.cat([torch.ones(1, count, dtype=torch.float64), times])
    means = torch.stack([(times @ rows.nan_to_num(0)) / (times @ (~rows.isnan()).double()) for rows in trainings])
    mean, *others = means.mean(dim=0)
    low, high = torch.stack(others).nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return torch.stack([mean, low, high])


def measured(
    task: Task, model: nn.Module, top: int, tail: float, batch: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is found for a network, and the shares of the stages for every reference and score.

    The images are the misclassified ones of the other domain at their true labels; the shares have a row for every
    image of that domain, NaN for one that is not scored. The references: ``own_domain``, the network's validation set;
    ``few``, as many of its images as half of the other domain has, where that is fewer; ``own_mistakes``, only its
    misclassified ones; ``other_domain``, where each half of the other domain's images has the statistics of the other.
    """
    raw = ParameterSaliency(model)

    def profiles(images: Images) -> Tensor:
        return torch.cat([raw.attribute(inputs, target=labels) for inputs, labels in task.batches(images, batch)])

    logits, own_logits = predicted(model, task, task.shifted), predicted(model, task, task.validation)
    wrong, own_wrong = logits.argmax(dim=1) != task.shifted.labels, own_logits.argmax(dim=1) != task.validation.labels
    own, rows = profiles(task.validation), profiles(task.shifted)
    fingerprint = Fingerprint.of(model)
    reference = Reference(raw.filters, Moments.of(own), fingerprint, "cross_entropy", UpperTail.of(own, tail))
    first = _chosen(len(rows), len(rows) // 2)
    parts = {"own_domain": [(reference, wrong)]}
    if len(rows) // 2 < len(own):
        parts["few"] = [(_of_rows(reference, own[_chosen(len(own), len(rows) // 2)]), wrong)]
    parts["own_mistakes"] = [(_of_rows(reference, own[own_wrong]), wrong)]
    parts["other_domain"] = [(_of_rows(reference, rows[~half]), half & wrong) for half in (first, ~first)]
    names, stages = stages_of(reference.filters)
    placed = {name: scored(model, rows, pairs, stages, top) for name, pairs in parts.items()}
    own_loss = cross_entropy(own_logits, task.validation.labels, reduction="none")
    loss = cross_entropy(logits, task.shifted.labels, reduction="none")
    found = {
        "stages": names,
        "filters": torch.bincount(stages).tolist(),
        "images": len(wrong),
        "misclassified": int(wrong.sum()),
        "own_misclassified": int(own_wrong.sum()),
        "shifted_accuracy": _accuracy(logits, task.shifted),
        "validation_images": len(own),
        "validation_accuracy": _accuracy(own_logits, task.validation),
        "median_loss": {
            "own_domain": own_loss.median().item(),
            "own_mistakes": own_loss[own_wrong].median().item(),
            "mistakes": loss[wrong].median().item(),
        },
        "reference_images": {name: [one.count for one, _ in pairs] for name, pairs in parts.items()},
        "excesses": {name: [one.tail.capacity for one, _ in pairs] for name, pairs in parts.items()},
        "fewer_ranked": {
            name: {arm: int(((number >= 0) & (number < top)).sum()) for arm, (_, number) in arms.items()}
            for name, arms in placed.items()
        },
        "tails": _described(reference, rows[wrong], stages),
    }
    return found, {f"{name}, {arm}": shares for name, arms in placed.items() for arm, (shares, _) in arms.items()}


def scored(
    model: nn.Module, rows: Tensor, parts: list[tuple[Reference, Tensor]], stages: Tensor, top: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Shares of the stages by score, ``(N, stages)``, and how many filters were ranked, ``(N,)``.

    Of the profiles ``(N, F)`` each reference scores those in its mask ``(N,)``; others have NaN and -1.
    """
    found = {}
    for arm in ARMS:
        shares = torch.full((len(rows), int(stages.max()) + 1), torch.nan, dtype=torch.float64)
        numbers = torch.full((len(rows),), -1)
        for reference, mask in parts:
            scores = _scores(model, reference, rows[mask], arm)
            shares[mask], numbers[mask] = top_shares(scores, stages, top, above_zero=arm.startswith("POT"))
        found[arm] = shares, numbers
    return found


def _scores(model: nn.Module, reference: Reference, rows: Tensor, arm: str) -> Tensor:
    if arm == "raw profile":
        return rows
    if arm == "z-score":
        return ParameterSaliency(model, reference).score(rows)
    return POTSaliency(model, reference, fit="mle" if arm == "POT, mle" else "exponential").score(rows)


def _chosen(count: int, number: int) -> Tensor:
    """A mask ``(count,)`` with ``number`` entries set at random."""
    mask = torch.zeros(count, dtype=torch.bool)
    mask[torch.randperm(count, generator=torch.Generator().manual_seed(0))[:number]] = True
    return mask


def _of_rows(reference: Reference, rows: Tensor) -> Reference:
    """The same network's reference over other profiles; where they are few, with a tail just large enough to fit."""
    fraction = min(max(reference.tail.fraction, (MINIMUM_EXCESSES + 2) / len(rows)), 0.5)
    return replace(reference, moments=Moments.of(rows), tail=UpperTail.of(rows, fraction))


def _described(reference: Reference, profile: Tensor, stages: Tensor) -> dict[str, Any]:
    """How heavy the tails of the reference are, by stage, how well they are fitted, and how many images lie beyond."""
    tails = FilterTails.fit(reference.tail)
    poor = (tails.pareto.goodness_of_fit(reference.tail.excesses) < 0.05).double()
    exceeding = (profile > tails.threshold).double()
    variation = reference.std / reference.mean
    parts = [stages == number for number in range(int(stages.max()) + 1)]
    return {
        "dead_filters": int((tails.rate == 0).sum()),
        "fallback_filters": int(tails.pareto.fallback.sum()),
        "median_shape": [tails.pareto.shape[part].median().item() for part in parts],
        "median_variation": [variation[part].median().item() for part in parts],
        "rejected_fits": [poor[part].mean().item() for part in parts],
        "exceeding": [exceeding[:, part].mean().item() for part in parts],
    }


@dataclass(frozen=True)
class Scored:
    """One training of a network: what was found, shares of the stages by reference and score, features by domain."""

    found: dict[str, Any]
    shares: dict[str, Tensor]
    features: dict[str, Tensor]


def table(groups: Mapping[str, Sequence[Scored]], references: Sequence[str]) -> str:
    """Shares of the stages as a markdown table, in percent: means over the trainings of a group, and their range."""
    first = next(iter(groups.values()))[0].found
    chance = [f"{100 * n / sum(first['filters']):.1f}" for n in first["filters"]]
    rows = [["", "share of all filters", *chance]]
    for group, trainings in groups.items():
        for key in (f"{reference}, {arm}" for reference in references for arm in ARMS):
            if key in trainings[0].shares:
                reference, _, arm = key.replace("_", " ").partition(", ")
                rows.append([f"{group}, {reference}", arm, *_cells([one.shares[key] for one in trainings])])
    return markdown_table(["reference", "score", *first["stages"]], rows)


def _cells(shares: Sequence[Tensor]) -> list[str]:
    cells = [percent(column.tolist()) for column in interval(shares).T]
    if len(shares) > 1:
        means = torch.stack([100 * one.nanmean(dim=0) for one in shares])
        ends = zip(cells, means.amin(dim=0).tolist(), means.amax(dim=0).tolist(), strict=True)
        cells = [f"{cell}; {low:.1f} to {high:.1f}" for cell, low, high in ends]
    return cells


def training_table(groups: Mapping[str, Sequence[Scored]]) -> str:
    """How far each training has come, and how good its network is."""
    rows = []
    for group in groups.values():
        for found in (one.found for one in group):
            losses = [row["loss"] for row in found["history"]]
            asked = "" if found["epochs"] == found["epochs_asked"] else f" of {found['epochs_asked']}"
            median = [f"{found['median_loss'][name]:.2g}" for name in ("own_domain", "mistakes")]
            accuracy = [f"{100 * found[name]:.1f}" for name in ("validation_accuracy", "shifted_accuracy")]
            kept = found["epochs"] if found["last"] else 1 + losses.index(min(losses))
            sizes = [f"{found[name]:,}" for name in ("validation_images", "images", "misclassified")]
            rows.append([found["name"], f"{found['epochs']}{asked}", f"{kept}", *accuracy, *sizes, *median])
    header = ["network", "epochs", "epoch kept", "accuracy, validation", "accuracy, other domain"]
    header += ["validation images", "images of the other domain", "mistakes scored"]
    return markdown_table([*header, "median loss, validation", "median loss, mistakes"], rows)


def figure(groups: Mapping[str, Sequence[Scored]]) -> bytes:
    """Bars of the shares by stage with intervals and the shares of all filters, as a PNG.

    A row a group of trainings; left with the reference of its own domain, right with that of the other.
    """
    panels = new_panels(9.0, 2.1 * len(groups) + 0.4, len(groups), 2)
    for number, panel in enumerate(panels):
        row, column = divmod(number, 2)
        group, trainings = list(groups.items())[row]
        bars(panel, trainings, ("own_domain", "other_domain")[column])
        panel.set_title(f"{group}: {('own', 'other')[column]} domain's reference")
        if column == 0:
            panel.set_ylabel(f"top {trainings[0].found['top']} (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    panels[0].figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    return fewer_colours(to_png(panels[0], dpi=90))


def bars(panel: Any, trainings: Sequence[Scored], reference: str) -> None:
    """One panel of the figure: a group of bars for every stage, with a dot for each of several trainings."""
    found = trainings[0].found
    x = np.arange(len(found["stages"]))
    for number, arm in enumerate(ARMS):
        shares = [one.shares[f"{reference}, {arm}"] for one in trainings]
        mean, low, high = 100 * interval(shares).numpy()
        left = x + 0.8 * ((number + 0.5) / len(ARMS) - 0.5)
        errors = np.clip(np.stack([mean - low, high - mean]), 0, None)
        panel.bar(left, mean, 0.8 / len(ARMS), yerr=errors, color=PALETTE[number], label=arm, error_kw={"lw": 0.8})
        if len(shares) > 1:
            for one in shares:
                panel.plot(left, 100 * one.nanmean(dim=0).numpy(), "k.", ms=3)
    chance = 100 * np.array(found["filters"]) / sum(found["filters"])
    panel.hlines(chance, x - 0.42, x + 0.42, colors=PALETTE[6], linestyles="dashed", label="all filters")
    panel.set_xticks(x, found["stages"])
    panel.set_ylim(0, 104)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _long(images: Images) -> Images:
    return Images(images.pixels, images.labels.long())


def _accuracy(logits: Tensor, images: Images) -> float:
    return (logits.argmax(dim=1) == images.labels).double().mean().item()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, score, and write tables and figures to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    results = Results(options.work / "depth_bias.json")
    groups: dict[str, list[Scored]] = {}
    task = digits(options.data)
    for seed in range(options.trainings):
        one = replace(task, name=f"{task.name}-{seed}" if seed else task.name)
        groups.setdefault("MNIST", []).extend(scored_networks(one, options.mnist_epochs, seed, options, results))
    for name in options.held_out:
        found = scored_networks(domains(options.data, name), options.pacs_epochs, 0, options, results)
        groups[f"PACS without {name}"] = found
    write_tables({name: found for name, found in groups.items() if found}, options.work)


def scored_networks(task: Task, asked: int, seed: int, options: argparse.Namespace, results: Results) -> list[Scored]:
    """What is found for the network that is kept, and with ``--last-epoch`` for the last one, too."""
    epochs = asked
    if options.as_trained:
        state = options.work / f"{task.name}.training.pt"
        epochs = min(asked, len(torch.load(state)["history"])) if state.exists() else 0
        if not epochs:
            LOG.warning("%s has not been trained for an epoch yet and is left out", task.name)
            return []
    networks, history = trained(task, options.work, epochs, seed=seed)
    recipe = {"history": history, "epochs": len(history), "top": options.top}
    chosen = list(networks.items())[: None if options.last_epoch else 1]
    scored_ones = [
        scored_network(task, model, {"name": name, "last": name != task.name, **recipe}, options, results)
        for name, model in chosen
    ]
    return [replace(one, found={**one.found, "epochs_asked": asked}) for one in scored_ones]


def scored_network(
    task: Task, model: nn.Module, recipe: dict[str, Any], options: argparse.Namespace, results: Results
) -> Scored:
    """Of one network: what an earlier run found, or what is found now."""
    slug = f"{recipe['name']}-{recipe['epochs']}-epochs".replace(", ", "-").replace(" ", "-")
    shares, features = (options.work / f"{slug}.{what}.safetensors" for what in ("shares", "features"))

    def find() -> dict[str, Any]:
        found, rows = measured(task, model, options.top, options.tail, options.batch)
        save_file(rows, shares)
        inside = penultimate(model, task.batches(task.validation, 256))
        by_domain = {domain: inside[task.origins == number] for number, domain in enumerate(task.seen)}
        outside = penultimate(model, task.batches(task.shifted, 256))
        save_file({**by_domain, task.other: outside}, features)
        return {**recipe, **found, "separations": separations(by_domain, outside)}

    found, rows = results.once(slug, find), load_file(features)
    return Scored(found, load_file(shares), {domain: rows[domain] for domain in (*task.seen, task.other)})


def write_tables(groups: Mapping[str, Sequence[Scored]], work: Path) -> None:
    """``depth_bias.md``, and the figures of stages and of features."""
    digits_only, others = (
        {name: found for name, found in groups.items() if (name == "MNIST") == chosen} for chosen in (True, False)
    )
    parts = [training_table(groups)]
    parts += [table(part, REFERENCES) for part in (digits_only, others) if part]
    every = [one for group in groups.values() for one in group]
    parts.append(feature_table({one.found["name"]: one.found["separations"] for one in every}))
    text = "\n".join(parts)
    LOG.info("%s", text)
    (work / "depth_bias.md").write_text(text, encoding="utf-8")
    (work / "depth_bias.png").write_bytes(figure(groups))
    pictured = {name: found[0].features for name, found in groups.items()}
    (work / "domain_features.png").write_bytes(feature_picture(pictured))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    data = Path(os.environ.get("PARAMSAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder with mnist, street_digits446 and pacs64")
    parser.add_argument("--work", type=Path, default=Path("depth-bias"), help="folder for weights, references, results")
    parser.add_argument("--held-out", nargs="*", default=PACS, help="domains of PACS, each held out in turn")
    parser.add_argument("--trainings", type=int, default=3, help="of MNIST, with other seeds")
    parser.add_argument("--mnist-epochs", type=int, default=10, help="at most; the best validation loss is kept")
    parser.add_argument("--pacs-epochs", type=int, default=6, help="at most; the best validation loss is kept")
    parser.add_argument(
        "--as-trained", action="store_true", help="train nothing, take what there is in the work folder"
    )
    parser.add_argument("--last-epoch", action="store_true", help="score the last network, too, where another is kept")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="all cores by default")
    parser.add_argument("--tail", type=float, default=0.10, help="fraction of the reference set beyond the thresholds")
    parser.add_argument("--top", type=int, default=20, help="filters ranked")
    parser.add_argument("--batch", type=int, default=128, help="images scored at once")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
