"""Tables and figures of what ``model_doctor.py`` found.

``python docs/evidence/model_doctor_tables.py`` reads ``model_doctor.json`` in the work folder, and writes
``model_doctor.md`` and three pictures next to it.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from captum_paramsal.viz.style import PALETTE, new_axes, new_panels, to_png

TUNING_SEED = "100"
USUAL = "margin 9"
Found = dict[str, Any]


def classes_of(text: str) -> np.ndarray:
    """Predictions from their digits."""
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) - ord("0")


def difference(gaps: np.ndarray, resamples: int = 2000) -> dict[str, float]:
    """Mean of gaps ``(seeds, images)``, with 95 % intervals: resampled images, and Student's t over seeds."""
    each = gaps.mean(axis=0)
    rng = np.random.default_rng(0)
    drawn = [each[rng.integers(len(each), size=len(each))].mean() for _ in range(resamples)]
    seeds = gaps.mean(axis=1)
    reach = t.ppf(0.975, len(seeds) - 1) * seeds.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else np.nan
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": float(each.mean()), "low": float(low), "high": float(high), "reach": float(reach)}


def runs_of(found: Found, task: str) -> Iterator[tuple[str, str, Found]]:
    """Arm, seed and outcome of every run of a task."""
    for key, run in found.items():
        name, _, rest = key.partition(" | ")
        arm, _, seed = rest.rpartition(" | ")
        if name == task and seed.isdigit():
            yield arm, seed, run


def summary(found: Found, task: str) -> dict[str, Found]:
    """By arm: accuracy, images cured and broken, mistakes for the cue, and paired differences to its controls."""
    base = found[f"{task} | untreated"]
    labels, before, cues = classes_of(base["labels"]), classes_of(base["test"]), np.array(base["cues"])
    arms: dict[str, dict[str, np.ndarray]] = {}
    for arm, seed, run in runs_of(found, task):
        if "test" in run:
            arms.setdefault(arm, {})[seed] = classes_of(run["test"])
    counted = {"untreated": _counted(before[None], before, labels, cues)}
    for arm, rows in arms.items():
        predictions = np.stack(list(rows.values()))
        counted[arm] = _counted(predictions, before, labels, cues)
        right = (predictions == labels).astype(float)
        counted[arm]["untreated"] = difference(right - (before == labels))
        for rival in {"plain", _shuffled(arm)} & arms.keys() - {arm}:
            others = np.stack([arms[rival][seed] for seed in rows])
            counted[arm]["shuffled" if "shuffled" in rival else "plain"] = difference(right - (others == labels))
    return counted


def _shuffled(arm: str) -> str:
    """The same arm with shuffled masks."""
    bare, margin, pixels = arm.partition(", margin")
    return f"{bare}, shuffled{margin}{pixels}"


def _counted(predictions: np.ndarray, before: np.ndarray, labels: np.ndarray, cues: np.ndarray) -> Found:
    right, was = predictions == labels, before == labels
    return {
        "accuracy": right.mean(),
        "cured": (right & ~was).sum(axis=1).mean(),
        "broken": (~right & was).sum(axis=1).mean(),
        "cue": (~right & (predictions == cues)).sum(axis=1).mean(),
        "images": len(labels),
        "seeds": len(predictions),
    }


def treatment_table(rows: dict[str, Found]) -> str:
    """The results of the arms, in percent and in images."""
    scenes = bool(rows["untreated"]["cue"] > 0)
    heads = ["treatment", "accuracy", "cured", "broken", *["mistakes for the cue"] * scenes]
    rivals = ("plain", "shuffled", "untreated")
    lines = [[*heads, *(f"minus {rival}, points" for rival in rivals)], ["---"] * (len(heads) + len(rivals))]
    for arm, row in rows.items():
        cells = [arm, f"{100 * row['accuracy']:.1f}", *(f"{row[name]:.0f}" for name in ("cured", "broken"))]
        cells += [f"{row['cue']:.0f}"] * scenes
        lines.append([*cells, *(_spread(row[rival]) if rival in row else "" for rival in rivals)])
    return _markdown(lines)


def strengths_table(found: Found, task: str) -> str:
    """Validation accuracy of the tuning seed by strength."""
    rows: dict[str, dict[float, str]] = {}
    for arm, seed, run in runs_of(found, task):
        if seed == TUNING_SEED:
            site, (name, strength), margin = _words(arm)
            text = "failed" if "failed" in run else f"{100 * run['validation']:.1f}"
            rows.setdefault(f"{site}, {name}{margin}", {})[float(strength)] = text
    cells = [[name, "; ".join(f"{one:g}: {row[one]}" for one in sorted(row))] for name, row in rows.items()]
    return _markdown([["constraint", "strength: validation accuracy"], ["---"] * 2, *cells])


def _words(arm: str) -> tuple[str, list[str], str]:
    """Evidence and layer, constraint and strength, and the margin."""
    site, constraint, *margin = arm.split(", ")
    return site, constraint.split(), "".join(f", {one}" for one in margin)


def diagnosis_table(found: Found) -> str:
    """How well diagnoses separate mistakes, with what their matrices hold."""
    names = ("deviation", "wrong channels", "background", "1 - confidence", "deviation and confidence")
    heads = ["network, layer, evidence", *(f"AUC, {name}" for name in names), "wrong channels: mistakes, right"]
    heads += ["Spearman", "sparsity", "overlap (chance)"]
    lines = [heads, ["---"] * len(heads)]
    for key, row in found.items():
        if not key.startswith("diagnosis"):
            continue
        cells = [", ".join(key.split(" | ")[1:])]
        cells += [_auc(row["auc"][name]) if name in row["auc"] else "" for name in names]
        shares = row.get("share of wrong channels")
        cells.append("" if shares is None else f"{100 * shares[0]:.1f}, {100 * shares[1]:.1f}")
        spearman = row.get("spearman with the classifier")
        cells += ["" if spearman is None else f"{spearman:.2f}", f"{row['sparsity']:.2f}"]
        cells.append(f"{row['overlap']:.2f} ({row['overlap by chance']:.2f})" if "overlap" in row else "")
        lines.append(cells)
    return _markdown(lines)


def noise_rows(found: Found) -> dict[tuple[str, str], list[Found]]:
    """By layer and unit, the bounds in order."""
    rows: dict[tuple[str, str], list[Found]] = {}
    for key, row in found.items():
        words = key.split(" | ")
        if words[0] == "noise" and len(words) == 4:
            rows.setdefault((words[1], words[2]), []).append({**row, "label": float(words[3])})
    return rows


def noise_table(found: Found) -> str:
    """Predictions kept and correlation under noise."""
    heads = ["layer", "bound", "kept: normal", "adversarial", "cosine: normal", "adversarial", "AUC kept", "AUC cosine"]
    lines = [heads, ["---"] * len(heads)]
    for (layer, unit), rows in noise_rows(found).items():
        for row in rows:
            cells = [layer, f"{row['label']:g}" + (" std" if unit != "absolute" else "")]
            cells += [f"{100 * row['kept'][group][0]:.0f}" for group in ("normal", "adversarial")]
            cells += [f"{row['cosine'][group][0]:.4f}" for group in ("normal", "adversarial")]
            lines.append([*cells, *(_auc(one) for one in row["auc"])])
    return _markdown(lines)


def _auc(values: Sequence[float]) -> str:
    return "{:.2f} ({:.2f} to {:.2f})".format(*values)


def _spread(gap: dict[str, float]) -> str:
    return f"{100 * gap['mean']:+.2f} ({100 * gap['low']:+.2f} to {100 * gap['high']:+.2f}; ± {100 * gap['reach']:.2f})"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def treatment_figure(tasks: dict[str, dict[str, Found]]) -> bytes:
    """Differences from plain fine-tuning, row by row, as a PNG."""
    named = [
        (f"{task}: {arm}", row["plain"]) for task, rows in tasks.items() for arm, row in rows.items() if "plain" in row
    ]
    axes = new_axes(8.0, 1.2 + 0.26 * len(named))
    for number, (name, gap) in enumerate(named):
        spread = [[100 * (gap["mean"] - gap["low"])], [100 * (gap["high"] - gap["mean"])]]
        color = PALETTE[6] if "shuffled" in name else PALETTE[0] if "contribution" in name else PALETTE[1]
        axes.errorbar(100 * gap["mean"], -number, xerr=spread, fmt="o", ms=4, lw=1, color=color)
    axes.axvline(0, color=PALETTE[6], lw=0.8, linestyle="dashed")
    axes.set_yticks(-np.arange(len(named)), [name for name, _ in named])
    axes.set_ylim(-len(named) + 0.4, 0.6)
    axes.set_xlabel("difference to plain fine-tuning, points")
    return to_png(axes, dpi=110)


def ablation_figure(rows: dict[str, Found]) -> bytes:
    """Gain over plain by annotated images, margin and layer, as a PNG."""
    panels = new_panels(9.0, 3.2, 1, 3)
    few = sorted((_annotated(arm), arm) for arm in rows if _annotated(arm))
    whole = next(base for base in (arm.rpartition(", ")[0] for _, arm in few) if base in rows)
    bare = whole.removesuffix(f", {USUAL}")
    margins = sorted({int(arm.split()[-1]) for arm in rows if arm.split()[-2:-1] == ["margin"]})
    series = {
        "annotated images": {f"{n}": arm for n, arm in few if arm.startswith(whole)} | {"all": whole},
        "margin, pixels": {f"{n}": f"{bare}, margin {n}" if n else bare for n in [0, *margins]},
        "layer": {
            layer: arm
            for layer in ("stem", "block1", "block2")
            for arm in rows
            if arm.startswith(f"contribution at {layer}, space") and arm.endswith(USUAL) and "shuffled" not in arm
        },
    }
    for panel, (title, arms) in zip(panels, series.items(), strict=True):
        known = {name: rows[arm]["plain"] for name, arm in arms.items() if arm in rows}
        values = 100 * np.array([[gap[key] for key in ("mean", "low", "high")] for gap in known.values()])
        spread = np.abs(values[:, 1:] - values[:, :1]).T
        panel.errorbar(np.arange(len(known)), values[:, 0], yerr=spread, fmt="o", ms=4, lw=1, color=PALETTE[0])
        panel.axhline(0, color=PALETTE[6], lw=0.8, linestyle="dashed")
        panel.set_xticks(np.arange(len(known)), list(known))
        panel.set_xlabel(title)
    panels[0].set_ylabel("difference to plain, points")
    return to_png(panels[0], dpi=110)


def _annotated(arm: str) -> int:
    """How many images are annotated, if not all."""
    return int(arm.split()[-2]) if arm.endswith("annotated") else 0


def noise_figure(found: Found) -> bytes:
    """Predictions kept and correlation by noise bound, a column a layer, as a PNG."""
    sets = {key[0]: rows for key, rows in noise_rows(found).items() if key[1] != "absolute"}
    panels = new_panels(4.4 * len(sets), 5.2, 2, len(sets))
    for number, panel in enumerate(panels):
        row, column = divmod(number, len(sets))
        layer, rows = list(sets.items())[column]
        name, scale = (("kept", 100), ("cosine", 1))[row]
        for group, color in (("normal", PALETTE[0]), ("adversarial", PALETTE[1])):
            values = scale * np.array([one[name][group] for one in rows])
            bounds = [one["label"] for one in rows]
            panel.plot(bounds, values[:, 0], "o-", ms=3, color=color, label=group)
            panel.fill_between(bounds, values[:, 1], values[:, 2], color=color, alpha=0.2, lw=0)
        panel.set_title(layer if row == 0 else "")
        if row:
            panel.set_xlabel("bound of the noise, standard deviations of the maps")
        if column == 0:
            panel.set_ylabel(("predictions kept (%)", "cosine of the correlations")[row])
    panels[0].legend(loc="lower left")
    return to_png(panels[0], dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("model-doctor"), help="folder of the results")
    work = parser.parse_args(arguments).work
    found = json.loads((work / "model_doctor.json").read_text("utf-8"))
    tasks = {name: summary(found, name) for name in ("demo", "demo longer", "cifar") if f"{name} | plain | 0" in found}
    text = []
    for name, rows in tasks.items():
        whole, parts = _parted(rows)
        text += [f"## {name}\n", treatment_table(whole), strengths_table(found, name)]
        if parts:
            text += [f"## {name}, ablations\n", treatment_table({"untreated": rows["untreated"], **parts})]
            (work / "model_doctor_ablations.png").write_bytes(ablation_figure(rows))
    text += ["## diagnosis\n", diagnosis_table(found), "## noise\n", noise_table(found)]
    (work / "model_doctor.md").write_text("\n".join(text), encoding="utf-8")
    if tasks:
        main_arms = {name: _parted(rows)[0] for name, rows in tasks.items()}
        (work / "model_doctor.png").write_bytes(treatment_figure(main_arms))
    if noise_rows(found):
        (work / "model_doctor_noise.png").write_bytes(noise_figure(found))


def _parted(rows: dict[str, Found]) -> tuple[dict[str, Found], dict[str, Found]]:
    """The main arms, and the ablations: other margins, few annotated images, other layers."""
    others = ("annotated", "boxes", "stem", "block1")
    main_arms = {
        arm: row
        for arm, row in rows.items()
        if not any(word in arm for word in others) and ("space" not in arm or arm.endswith(USUAL))
    }
    return main_arms, {arm: row for arm, row in rows.items() if arm not in main_arms}


if __name__ == "__main__":
    main()
