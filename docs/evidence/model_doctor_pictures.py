"""Figures 2, 4, 5 and 7 to 10 of Model Doctor on the demo: channels, gains by class, maps, and a series of layers.

``python docs/evidence/model_doctor_pictures.py`` treats the demo with each constraint and its controls. What each
network shows is written to ``model_doctor_pictures.json`` in the work folder, and not made again; then the tables and
the figures are written next to it.
"""

import argparse
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import LayerGradCam
from matplotlib.axes import Axes
from model_doctor import (
    MARGIN,
    SHIFTED,
    TEST_SEED,
    Arm,
    Images,
    Task,
    demo,
    doctor_of,
    findings_of,
    fitted,
    predicted,
    shuffled_within,
    text_of,
    treatment_of,
)
from results import Results, auc_interval, fewer_colours, markdown_table, percent
from torch import Tensor, nn

from captum_paramsal import Diagnosis
from captum_paramsal.demo import CLASSES, Scenes, make_scenes
from captum_paramsal.functional import foreground_at
from captum_paramsal.stats import bootstrap_means
from captum_paramsal.viz import (
    PALETTE,
    class_channel_plot,
    evidence_plot,
    new_axes,
    new_panels,
    to_png,
    treatment_plot,
)

Found = dict[str, Any]
LOG = logging.getLogger("model_doctor_pictures")

LAYERS = ("stem", "block1", "block2")
LAST = LAYERS[-1]
GRAD_CAM = "Grad-CAM"
OF_LABEL = f"{LAST}, label"
PLACES = ("object", "other object", "patch")
SHARES = (
    (LAST, "object", True), (LAST, "other object", False), (LAST, "patch", True),
    (GRAD_CAM, "object", True), (GRAD_CAM, "patch", True), (OF_LABEL, "object", False),
)  # fmt: skip
"""Columns of the table of shares: which map, in what, and whether to compare it with plain fine-tuning."""
SHOWN = ("original", "plain", "channel", "space", "both")
ARMS = {
    "plain": Arm(),
    "channel": Arm(channel=1.0),
    "channel, shuffled": Arm(channel=1.0, shuffled=True),
    "space": Arm(space=30.0, margin=MARGIN),
    "space, shuffled": Arm(space=30.0, margin=MARGIN, shuffled=True),
    "both": Arm(channel=1.0, space=30.0, margin=MARGIN),
    "both, shuffled": Arm(channel=1.0, space=30.0, margin=MARGIN, shuffled=True),
}
"""The strengths that were chosen on the validation scenes for the page on treatments."""


@dataclass(frozen=True)
class Study:
    """What the networks are looked at with.

    Attributes:
        task: The demo.
        scenes: Its test scenes.
        places: Pixels of the object, of another scene's object of the same class, and of the patch, ``(N, H, W)``.
        shown: Numbers of the scenes whose maps are drawn.
    """

    task: Task
    scenes: Scenes
    places: dict[str, Tensor]
    shown: list[int]

    @classmethod
    def of(cls, task: Task, scenes: Scenes) -> "Study":
        """With the scenes that :func:`scenes_to_show` chooses."""
        others = scenes.masks[shuffled_within(scenes.labels, torch.Generator().manual_seed(0))]
        places = dict(zip(PLACES, (scenes.masks, others, scenes.cue_masks), strict=True))
        return cls(task, scenes, places, scenes_to_show(predicted(task.model, task.test).argmax(dim=1), scenes))


def scenes_to_show(classes: Tensor, scenes: Scenes) -> list[int]:
    """The first three mistakes for the class of the patch, each for another class, and the first two correct scenes.

    Of the correct scenes one has the patch of another class, the other that of its own.
    """
    chosen: dict[int, int] = {}
    for number in ((classes != scenes.labels) & (classes == scenes.cue_labels)).nonzero()[:, 0].tolist():
        chosen.setdefault(int(classes[number]), number)
    right, hinted = classes == scenes.labels, scenes.cue_labels >= 0
    agrees = scenes.cue_labels == scenes.labels
    correct = (right & hinted & ~agrees, right & agrees)
    return [*list(chosen.values())[:3], *(int(mask.nonzero()[0, 0]) for mask in correct)]


def map_kinds(model: nn.Module, images: Images, classes: Tensor) -> dict[str, Tensor]:
    """Evidence for some classes at each place of each layer, for the labels, and Grad-CAM; ``(N, h, w)`` each."""
    asked = [(layer, layer, classes) for layer in LAYERS] + [(OF_LABEL, LAST, images.labels)]
    maps = {}
    for kind, layer, target in asked:
        # Without noise: after the last layer everything is linear, and before it noise hardly changes the evidence.
        doctor = doctor_of(model, layer, "contribution", copies=0)
        parts = zip(images.inputs.split(250), target.split(250), strict=True)
        maps[kind] = torch.cat([doctor.attribute(inputs, target=some).sum(dim=1) for inputs, some in parts])
    grad_cam = LayerGradCam(model, model.get_submodule(LAST))
    parts = zip(images.inputs.split(250), classes.split(250), strict=True)
    found = [grad_cam.attribute(inputs, some, relu_attributions=True)[:, 0].detach() for inputs, some in parts]
    return {**maps, GRAD_CAM: torch.cat(found)}


def share_within(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map's mass within a mask of pixels, ``(N,)``; NaN for a map that is 0 everywhere, or no mask."""
    inside = foreground_at(masks.double(), (maps.shape[1], maps.shape[2]))
    values = maps.double()
    shares = (values * inside).sum(dim=(1, 2)) / values.sum(dim=(1, 2))
    return shares.masked_fill(~masks.any(dim=2).any(dim=1), torch.nan)


def looked_at(study: Study, model: nn.Module) -> Found:
    """Predictions for the test scenes, where the maps lie in each, and the maps of the scenes that are drawn."""
    classes = predicted(model, study.task.test).argmax(dim=1)
    found: Found = {"test": text_of(classes)}
    for kind, maps in map_kinds(model, study.task.test, classes).items():
        for place, masks in study.places.items():
            found[f"{kind} in {place}"] = [round(share, 5) for share in share_within(maps, masks).tolist()]
        found[f"{kind}, maps"] = maps[study.shown].tolist()
    return found


def networks(results: Results, study: Study, seeds: int) -> dict[str, list[Found]]:
    """What each network shows, by treatment and seed."""

    def treated(name: str, seed: int) -> Found:
        model = treatment_of(study.task, ARMS[name], seed).model
        if model is None:
            message = "Expected a treatment with its model, got one without."
            raise RuntimeError(message)
        return looked_at(study, model)

    original = results.once("original", lambda: looked_at(study, study.task.model))
    found: dict[str, list[Found]] = {"original": [original]}
    for seed in range(seeds):
        for name in ARMS:
            run = results.once(f"{name} | {seed}", partial(treated, name, seed))
            found.setdefault(name, []).append(run)
    return found


def distances(study: Study) -> Found:
    """How far scenes are from the average of their predicted class, and the channels of two of them (Figure 2)."""
    diagnosis = study.task.diagnosis(LAST, "contribution")
    found = findings_of(doctor_of(study.task.model, LAST, "contribution"), diagnosis, study.task.test)
    wrong = found.labels != found.predicted
    mistake = study.shown[0]
    label = int(found.predicted[mistake])
    correct = int((~wrong & (found.predicted == label)).nonzero()[0, 0])
    distance = found.deviation
    return {
        "auc": auc_interval(distance.numpy(), wrong.numpy()),
        "wrong": wrong.int().tolist(),
        "distance": distance.tolist(),
        "class": label,
        "average": diagnosis.correlation[label].tolist(),
        "scenes": [correct, mistake],
        "channels": found.correlation[[correct, mistake]].tolist(),
        "unusual": found.wrong[[correct, mistake]].int().tolist(),
    }


def most_confident(model: nn.Module, images: Images, count: int = 100, confidence: float = 0.9) -> Images:
    """The images that a diagnosis averages: of each class the most confident ones that are correct."""
    sure, classes = predicted(model, images).double().softmax(dim=1).max(dim=1)
    chosen = []
    for label in range(len(CLASSES)):
        known = (images.labels == label) & (classes == label) & (sure >= confidence)
        ranked = sure.masked_fill(~known, -1.0).argsort(descending=True, stable=True)
        chosen.append(ranked[: min(count, int(known.sum()))])
    return images[torch.cat(chosen).sort().values]


def layer_numbers(diagnosis: Diagnosis) -> list[float]:
    """Means over classes: relevant channels, their share, overlap of two classes, that by chance, and the excess."""
    relevant = diagnosis.relevant().double()
    pairs = ~torch.eye(diagnosis.classes, dtype=torch.bool)
    overlap, chance = diagnosis.overlap()[pairs].nanmean().item(), diagnosis.overlap_by_chance()[pairs].nanmean().item()
    return [relevant.sum(dim=1).mean().item(), relevant.mean().item(), overlap, chance, overlap - chance]


def resampled(diagnosis: Diagnosis, generator: torch.Generator) -> Diagnosis:
    """The diagnosis that images drawn again with replacement, class by class, would have given."""
    rows = []
    for label in range(diagnosis.classes):
        of_class = diagnosis.usual_of(label)
        rows.append(of_class[torch.randint(len(of_class), (len(of_class),), generator=generator)].mean(dim=0))
    return replace(diagnosis, correlation=torch.stack(rows))


def layer_study(study: Study, name: str, resamples: int = 500) -> Found:
    """Which channels of a layer the classes rely on, with 95 % bootstrap intervals over the averaged images."""
    best = most_confident(study.task.model, study.task.train[:2048])
    diagnosis = fitted(doctor_of(study.task.model, name, "contribution"), best)
    generator = torch.Generator().manual_seed(0)
    rows = [layer_numbers(diagnosis), *(layer_numbers(resampled(diagnosis, generator)) for _ in range(resamples))]
    mean, *drawn = torch.tensor(rows, dtype=torch.float64)
    ends = torch.stack(drawn).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    numbers = torch.cat([mean[None], ends]).T.tolist()
    return {
        **dict(zip(("relevant", "share", "overlap", "chance", "excess"), numbers, strict=True)),
        "images": diagnosis.counts.tolist(),
        "by class": diagnosis.relevant().sum(dim=1).tolist(),
        "normalized": diagnosis.normalized.tolist(),
    }


def over_seeds(runs: Sequence[Found], key: str) -> Tensor:
    """Values ``(seeds, N)`` of each test scene."""
    return torch.tensor([run[key] for run in runs], dtype=torch.float64)


def right_of(runs: Sequence[Found], labels: Tensor) -> Tensor:
    """Which predictions are right, ``(seeds, N)``, 0 or 1."""
    return torch.stack([torch.tensor(list(map(int, run["test"]))) == labels for run in runs]).double()


def mean_of(values: Tensor) -> list[float]:
    """Mean over seeds and scenes of ``(seeds, N)``, with its 95 % bootstrap interval over scenes."""
    return bootstrap_means(values.nanmean(dim=0)[:, None])[:, 0].tolist()


def gain_of(runs: Sequence[Found], rival: Sequence[Found], labels: Tensor) -> Tensor:
    """Accuracy of each class less that of a rival's runs of the same seeds, ``(3, C)``: mean and ends over scenes."""
    gap = (right_of(runs, labels) - right_of(rival, labels)).mean(dim=0)
    return torch.stack([bootstrap_means(gap[labels == label][:, None])[:, 0] for label in range(len(CLASSES))], dim=1)


def gains_table(found: Mapping[str, list[Found]], labels: Tensor) -> str:
    """Accuracy by class of the original and of plain fine-tuning, and what each constraint adds (Figure 4)."""
    pairs = [(name, "plain") for name in ("channel", "space", "both")]
    pairs += [(name, f"{name}, shuffled") for name in ("channel", "space", "both")]
    gains = [gain_of(found[name], found[rival], labels).T.tolist() for name, rival in pairs]
    rows = []
    for label, name in enumerate(CLASSES):
        accuracy = [right_of(found[arm], labels)[:, labels == label].mean() for arm in ("original", "plain")]
        rows.append([name, *(f"{100 * one:.1f}" for one in accuracy), *(percent(g[label], signed=True) for g in gains)])
    all_gaps = [right_of(found[name], labels) - right_of(found[rival], labels) for name, rival in pairs]
    accuracy = [right_of(found[arm], labels).mean() for arm in ("original", "plain")]
    whole = [percent(mean_of(gap), signed=True) for gap in all_gaps]
    rows.append(["all", *(f"{100 * one:.1f}" for one in accuracy), *whole])
    spread = [f"{100 * gap.mean(dim=1).min():+.1f} to {100 * gap.mean(dim=1).max():+.1f}" for gap in all_gaps]
    rows.append(["all, lowest and highest seed", "", "", *spread])
    return markdown_table(["class", "original", "plain", *(f"{one} minus {other}" for one, other in pairs)], rows)


def shares_table(found: Mapping[str, list[Found]], labels: Tensor) -> str:
    """Where the maps of each network lie (Figures 5 and 10): shares within a place, and less plain fine-tuning's."""
    rows = []
    for name, runs in found.items():
        cells = [name, f"{100 * right_of(runs, labels).mean():.1f}"]
        for kind, place, compared in SHARES:
            values, plain = (over_seeds(some, f"{kind} in {place}").nanmean(dim=0) for some in (runs, found["plain"]))
            cells.append(percent(mean_of(values[None])))
            if compared:
                cells.append("" if name == "plain" else percent(mean_of((values - plain)[None]), signed=True))
        rows.append(cells)
    heads = [head for kind, place, compared in SHARES for head in [f"{kind} in {place}", *["minus plain"] * compared]]
    return markdown_table(["network", "accuracy", *heads], rows)


def shares_beside_shuffled(found: Mapping[str, list[Found]]) -> str:
    """What of a constraint's shares is not in its shuffled control, with the lowest and the highest seed."""
    text = ""
    for name in ("channel", "space"):
        for kind, place, compared in SHARES:
            if compared:
                key = f"{kind} in {place}"
                gap = over_seeds(found[name], key) - over_seeds(found[f"{name}, shuffled"], key)
                seeds = 100 * gap.nanmean(dim=1)
                spread = f"seeds {seeds.min():+.1f} to {seeds.max():+.1f}"
                text += f"* {name} minus shuffled, {key}: {percent(mean_of(gap), signed=True)}; {spread}\n"
    return text


def layers_table(layers: Mapping[str, Found], found: Mapping[str, list[Found]], scenes: Scenes) -> str:
    """The series of layers (Figures 7 to 9): channels of the classes, and evidence on the background."""
    area = 1 - scenes.masks.double().mean(dim=(1, 2))
    rows = []
    for name, one in layers.items():
        inside, other = (over_seeds(found["original"], f"{name} in {place}") for place in PLACES[:2])
        treated, plain = (over_seeds(found[arm], f"{name} in object") for arm in ("space", "plain"))
        relevant = "{:.1f} ({:.1f} to {:.1f})".format(*one["relevant"])
        cells = [name, str(len(one["normalized"][0])), f"{relevant}, {min(one['by class'])} to {max(one['by class'])}"]
        cells += [percent(one["share"]), percent(one["overlap"]), percent(one["chance"])]
        cells += [percent(one["excess"], signed=True), percent(mean_of(1 - inside)), percent(mean_of(1 - other))]
        rows.append([*cells, f"{100 * area.mean():.1f}", percent(mean_of(plain - treated), signed=True)])
    heads = ["layer", "channels", "relevant to a class, fewest to most", "share of channels", "overlap of two classes"]
    heads += ["by chance", "overlap minus chance", "evidence on the background", "outside another scene's object"]
    return markdown_table([*heads, "area of the background", "on the background, space minus plain"], rows)


def channels_figure(one: Found) -> bytes:
    """Evidence by channel of a correct scene and of a mistake, before their class's average (Figure 2)."""
    panels = new_panels(9.0, 4.2, 2)
    average = torch.tensor(one["average"])
    order = average.argsort(descending=True)
    places = np.arange(len(order))
    titles = (f"a scene with a {CLASSES[one['class']]}", f"a mistake for {CLASSES[one['class']]}")
    for panel, title, values, unusual in zip(panels, titles, one["channels"], one["unusual"], strict=True):
        row, odd = torch.tensor(values), (torch.tensor(unusual)[order] > 0).numpy()
        shares, usual = ((100 * one[order] / one.sum()).numpy() for one in (row, average))
        panel.bar(places, usual, width=0.95, color="#c4c8cf", label="average of the class")
        for which, color, label in ((~odd, PALETTE[0], "scene"), (odd, PALETTE[1], "scene, p at most 0.05")):
            panel.bar(places[which], shares[which], width=0.45, color=color, label=label)
        panel.set_title(title)
        panel.set_ylabel("share of evidence (%)")
        panel.set_xlim(-0.7, len(order) - 0.3)
    panels[1].legend(loc="upper right", ncols=3)
    panels[1].set_xticks(places[::2], [str(channel) for channel in order[::2].tolist()])
    panels[1].set_xlabel("channel, by the class's average (every second is numbered)")
    return to_png(panels[0], dpi=110)


def distances_figure(one: Found) -> bytes:
    """Distances from the class's average, of correct scenes and of mistakes (Figure 2)."""
    axes = new_axes(7.0, 2.8)
    wrong, distance = torch.tensor(one["wrong"]) > 0, torch.tensor(one["distance"])
    edges = torch.linspace(0, float(distance.max()), 41).tolist()
    for which, color, label in ((~wrong, PALETTE[0], "correct"), (wrong, PALETTE[1], "mistakes")):
        weights = torch.full((int(which.sum()),), 100 / int(which.sum()))
        axes.hist(distance[which].tolist(), edges, weights=weights.tolist(), color=color, alpha=0.6, label=label)
    axes.set_xlabel("1 - cosine of the scene's channels and the average of its predicted class")
    axes.set_ylabel("scenes (%)")
    axes.legend()
    return to_png(axes, dpi=110)


def gains_figure(found: Mapping[str, list[Found]], labels: Tensor) -> bytes:
    """Gains by class (Figure 4): before and after one treatment, and differences from plain fine-tuning."""
    left, right = new_panels(10.0, 3.8, 1, 2)
    before, after = (torch.tensor(list(map(int, found[name][0]["test"]))) for name in ("original", "space"))
    treatment_plot(labels, before, after, left, names=CLASSES)
    left.set_xlabel("accuracy, original and with the space constraint (first seed)")
    arms = {
        "channel": (PALETTE[4], "o"), "channel, shuffled": (PALETTE[4], "x"),
        "space": (PALETTE[0], "o"), "space, shuffled": (PALETTE[0], "x"),
    }  # fmt: skip
    for number, (name, (color, marker)) in enumerate(arms.items()):
        gains = 100 * gain_of(found[name], found["plain"], labels)
        spread = torch.stack([gains[0] - gains[1], gains[2] - gains[0]]).clamp(min=0)
        rows = torch.arange(len(CLASSES)) + 0.17 * (number - 1.5)
        right.errorbar(gains[0], rows, xerr=spread, fmt=marker, ms=4, lw=1, color=color, label=name)
    right.axvline(0, color=PALETTE[6], lw=0.8, linestyle="dashed")
    right.set_ylim(*left.get_ylim())
    right.set_yticks(range(len(CLASSES)), [""] * len(CLASSES))
    right.set_xlabel("accuracy minus plain fine-tuning, points")
    right.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2, fontsize=8, frameon=False)
    return to_png(left, dpi=110)


def maps_figure(study: Study, found: Mapping[str, list[Found]]) -> bytes:
    """Maps of the networks beside each other (Figures 5 and 10), a row a scene."""
    columns = [(name, LAST, name) for name in SHOWN]
    columns += [(name, GRAD_CAM, f"{GRAD_CAM},\n{name}") for name in ("original", "space")]
    return _grid(study, study.shown, [(found[name][0], kind, title) for name, kind, title in columns])


def layers_maps_figure(study: Study, found: Mapping[str, list[Found]]) -> bytes:
    """Maps at a series of layers, of the original and of the network with the space constraint."""
    columns = [(found[name][0], layer, f"{layer},\n{name}") for name in ("original", "space") for layer in LAYERS]
    return _grid(study, study.shown[:3], columns)


def _grid(study: Study, numbers: Sequence[int], columns: Sequence[tuple[Found, str, str]]) -> bytes:
    """Scenes, and maps of them with what the network says."""
    width = len(columns) + 1
    panels = new_panels(1.25 * width, 1.5 * len(numbers) + 0.4, len(numbers), width)
    for row, number in enumerate(numbers):
        image, mask, label = study.scenes.images[number], study.scenes.masks[number], int(study.scenes.labels[number])
        first, *others = panels[row * width : (row + 1) * width]
        first.imshow(image.permute(1, 2, 0).numpy())
        first.set_axis_off()
        cue = int(study.scenes.cue_labels[number])
        _name(first, f"{CLASSES[label]},\npatch: {CLASSES[cue]}", "" if row else "scene", right=True)
        for axes, (run, kind, title) in zip(others, columns, strict=True):
            evidence_plot(image, torch.tensor(run[f"{kind}, maps"][row]), axes, mask=mask)
            answer = int(run["test"][number])
            said = CLASSES[answer] if answer == label else f"wrong: {CLASSES[answer]}"
            _name(axes, f"{said}\n", "" if row else title, right=answer == label)
    return to_png(panels[0], dpi=100)


def _name(axes: Axes, below: str, above: str, *, right: bool) -> None:
    axes.set_title(above, loc="center", fontsize=9)
    axes.text(0.5, -0.04, below, transform=axes.transAxes, ha="center", va="top", fontsize=8,
              color=PALETTE[6] if right else PALETTE[1])  # fmt: skip


def matrices_figure(layers: Mapping[str, Found]) -> bytes:
    """Classes and channels of each layer (Figures 7 to 9)."""
    panels = new_panels(13.0, 2.9, 1, len(layers))
    for axes, (name, one) in zip(panels, layers.items(), strict=True):
        class_channel_plot(torch.tensor(one["normalized"]), axes, names=CLASSES, title=name)
        axes.set_xticks([])
    return to_png(panels[0], dpi=90)


def tables(study: Study, found: Mapping[str, list[Found]], one: Found, layers: Mapping[str, Found]) -> str:
    """All numbers of the page."""
    labels = study.scenes.labels
    wrong, distance = torch.tensor(one["wrong"]) > 0, torch.tensor(one["distance"], dtype=torch.float64)
    means = [bootstrap_means(distance[which][:, None])[:, 0].tolist() for which in (wrong, ~wrong)]
    text = "## distance\n\nAUC {:.3f} ({:.3f} to {:.3f})".format(*one["auc"])
    text += "; mistakes {:.3f} ({:.3f} to {:.3f})".format(*means[0])
    text += ", correct {:.3f} ({:.3f} to {:.3f})".format(*means[1])
    text += f"; {int(wrong.sum())} mistakes of {len(wrong)}; scenes {one['scenes']}\n\n"
    text += f"## gains\n\n{gains_table(found, labels)}\n"
    hinted = study.scenes.cue_labels >= 0
    masks = study.places["object"], study.places["patch"][hinted]
    area = [percent(mean_of(some.double().mean(dim=(1, 2))[None])) for some in masks]
    text += f"## maps\n\nscenes {study.shown}; area of the object {area[0]}, of a patch {area[1]}\n\n"
    best = foreground_at(study.scenes.masks.double(), (8, 8)).amax(dim=(1, 2))
    text += f"in the object, of a map with all its mass in the best of 8 x 8 places: {percent(mean_of(best[None]))}\n\n"
    empty = sum(isnan(value) for run in found["space"] for value in run[f"{GRAD_CAM} in object"])
    text += f"Grad-CAM empty under space: {empty}\n\n"
    text += f"{shares_table(found, labels)}\n{shares_beside_shuffled(found)}\n"
    text += f"## layers\n\n{layers_table(layers, found, study.scenes)}\n"
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Treat, look, and write tables and figures."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    scenes = make_scenes(options.demo_test, seed=TEST_SEED, cue_agreement=SHIFTED)
    study = Study.of(replace(demo(options), epochs=options.epochs), scenes)
    results = Results(options.work / "model_doctor_pictures.json")
    one = results.once("distances", lambda: distances(study))
    layers = {name: results.once(f"layer {name}", partial(layer_study, study, name)) for name in LAYERS}
    found = networks(results, study, options.seeds)
    text = tables(study, found, one, layers)
    (options.work / "model_doctor_pictures.md").write_text(text, encoding="utf-8")
    figures = {
        "channels": channels_figure(one),
        "distances": distances_figure(one),
        "gains": gains_figure(found, scenes.labels),
        "maps": maps_figure(study, found),
        "layers": matrices_figure(layers),
        "layers_maps": layers_maps_figure(study, found),
    }
    for name, png in figures.items():
        (options.work / f"model_doctor_{name}.png").write_bytes(fewer_colours(png))
    LOG.info("\n%s", text)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("model-doctor-pictures"), help="folder for the results")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each arm")
    parser.add_argument("--epochs", type=int, default=4, help="of each training")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads")
    parser.add_argument("--demo-test", type=int, default=2000, help="test scenes")
    options = parser.parse_args(arguments)
    options.size = lambda count: count
    return options


if __name__ == "__main__":
    main()
