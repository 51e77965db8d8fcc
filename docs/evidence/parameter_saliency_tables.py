"""Tables and figures of what ``parameter_saliency.py`` found: ``python docs/evidence parameter_saliency_tables``."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from parameter_saliency import DISTURBED, KNOCKED, OTHER_RATES, RATE, TUNED
from parameter_saliency_pixels import FORGETTING, picture
from results import fewer_colours, markdown_table, percent

from captum_paramsal import FilterIndex
from captum_paramsal.repair import InterventionCurve
from captum_paramsal.viz import intervention_plot, profile_plot, to_png
from captum_paramsal.viz.style import new_panels, styled

NETWORKS = {"squeezenet": "SqueezeNet", "resnet20": "ResNet-20", "efficientnet_lite1": "EfficientNet-Lite1"}
MEASURES = ("change of wrong class", "change of true class", "corrected", "correct images broken")
BANDS = ("z-score", "random", "last stage")
"""Arms whose intervals are drawn."""

KINDS = {"knocked": KNOCKED, "tuned": TUNED, "noise": DISTURBED, "relative_noise": DISTURBED}
KINDS |= {f"rate{rate:g}": ("z-score", "random", "raw gradient") for rate in OTHER_RATES}


def number(values: Sequence[float], digits: int = 2) -> str:
    """Mean and interval of a number."""
    mean, low, high = (f"{one:.{digits}f}" for one in values)
    return f"{mean} ({low} to {high})"


def saved_curves(work: Path, network: str, kind: str) -> dict[str, InterventionCurve]:
    """The finished curves of one kind, by arm."""
    paths = {arm: work / f"{network}-{kind}-{arm.replace(' ', '_')}.safetensors" for arm in KINDS[kind]}
    return {arm: InterventionCurve.load(path) for arm, path in paths.items() if path.exists()}


def curve_table(curves: Mapping[str, InterventionCurve], at: int) -> str:
    """One row a ranking with the first filters changed: changes in points, shares in percent."""
    rows = []
    for arm, curve in curves.items():
        found = curve.summary()
        cells = [percent(found[name][:, at].tolist(), signed=name.startswith("change")) for name in MEASURES]
        rows.append([arm, *cells])
    return markdown_table([f"{at} filters", *MEASURES], rows)


def gap_table(curves: Mapping[str, InterventionCurve], at: int, own: str = "z-score") -> str:
    """The z-score's ranking minus each other one, paired, in points."""
    first, rows = curves[own], []
    for arm, curve in curves.items():
        if arm != own:
            gaps = first.difference(curve)
            rows.append([f"minus {arm}", *(percent(gaps[name][:, at].tolist(), signed=True) for name in MEASURES)])
    return markdown_table([f"{own}, {at} filters", *MEASURES], rows)


def whole_table(found: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """A step of the whole network, one row a learning rate."""
    rows = [
        [rate, *(percent(row[name], signed=name.startswith("change")) for name in MEASURES)]
        for rate, row in found.items()
    ]
    return markdown_table(["whole network, learning rate", *MEASURES], rows)


def profile_table(found: Mapping[str, Any]) -> str:
    """Mean scores by stage, mistakes and correct images."""
    rows = []
    for key, values in found.items():
        form, _, stage = key.partition(" ")
        if form in ("z", "share") and isinstance(values, dict):
            groups = (number(values[name]) for name in ("mistakes", "right", "difference"))
            rows.append([{"z": "z-score", "share": "z-score of the share"}[form], stage, *groups])
    return markdown_table(["score", "stage", "mistakes", "correct images", "difference"], rows)


def neighbour_table(found: Mapping[str, Any]) -> str:
    """How often neighbours share a class, by where they are looked for."""
    header = ["pool, space, scores", "shared", "nearest", "10 nearest", "chance", "10 nearest minus chance"]
    rows = []
    for key, shared in found.items():
        for what, values in shared.items():
            cells = [percent(values[name], signed=name == "lift") for name in ("nearest", "near", "chance", "lift")]
            rows.append([key, what, *cells])
    return markdown_table(header, rows)


def others_table(found: Mapping[str, Any]) -> str:
    """What one mistake's step does to others, by how they were chosen."""
    rows = []
    for key, values in found.items():
        rows.append([key, "itself", percent(values["own"]), "", "", ""])
        for name in values["cured"]:
            cells = [percent(values["cured"][name]), percent(values["minus random"][name], signed=True)]
            cells += [percent(values["rise"][name], signed=True), f"{100 * values['same prediction'][name]:.1f}"]
            rows.append([key, name, *cells])
    header = [
        "filters, learning rate",
        "tried on",
        "corrected",
        "minus random",
        "true class, points",
        "same prediction",
    ]
    return markdown_table(header, rows)


def masking_table(found: Mapping[str, Any]) -> str:
    """What covering pixels does, one row a choice of pixels."""
    header = [
        "photos, fill",
        "covered",
        "predicted class",
        "true class",
        "right after",
        "guilty filters",
        "minus random",
    ]
    rows = []
    for key, values in found.items():
        for name, row in values["arms"].items():
            cells = [percent(row[one], signed=True) for one in ("change of predicted class", "change of true class")]
            cells += [percent(row["right after"]), number(row["change of guilty filters"])]
            cells.append(number(values["minus random"][name]["change of guilty filters"]))
            rows.append([key, name, *cells])
    return markdown_table(header, rows)


def likeness_table(found: Mapping[str, Any]) -> str:
    """Input-space saliency compared with other maps."""
    rows = []
    for group, others in found.items():
        for name, values in others.items():
            rank = [number(values[key]) for key in ("rank correlation", "rank correlation, 13 x 13")]
            same = [percent(values[key]) for key in ("overlap", "overlap, 13 x 13")]
            rows.append([group, name, *rank, *same])
    header = ["photos", "beside", "rank correlation", "at 13 x 13", "overlap of top 5 %", "at 13 x 13"]
    return markdown_table(header, rows)


def cascade_table(found: Mapping[str, Any]) -> str:
    """Likeness with the trained network's map, one row a method."""
    stages = [stage for stage in FORGETTING if stage in found]
    methods = list(found[stages[0]])
    rows = [
        [method, measure, *(number(found[stage][method][measure]) for stage in stages)]
        for measure in ("rank correlation", "SSIM")
        for method in methods
    ]
    return markdown_table(["map", "likeness", *stages], rows)


def curve_figure(found: Mapping[str, Mapping[str, InterventionCurve]], lines: Mapping[str, Any]) -> bytes:
    """One row per network; the wrong class's confidence, mistakes corrected, correct images broken.

    Args:
        found: Curves by network and arm.
        lines: By network what a step of the whole network does, drawn as a line.
    """
    shown = ("change of wrong class", "corrected", "correct images broken")
    with styled():
        panels = new_panels(10.5, 2.9 * len(found), len(found), len(shown))
        for row, (network, curves) in enumerate(found.items()):
            summaries = [curve.summary() for curve in curves.values()]
            for column, measure in enumerate(shown):
                axes = panels[row * len(shown) + column]
                values = 100 * torch.stack([one[measure] for one in summaries])
                for arm, lines_of in zip(curves, values, strict=True):
                    if arm not in BANDS:
                        lines_of[1:] = torch.nan
                unit = "points" if measure.startswith("change") else "%"
                intervention_plot(values, list(curves), f"{measure} ({unit})", ax=axes, legend=False)
                if network in lines:
                    axes.axhline(100 * lines[network][measure][0], color="0.3", ls=":", lw=1.2, label="whole network")
                if column == 0:
                    axes.set_title(f"{NETWORKS[network]}, {len(next(iter(curves.values())))} mistakes")
                if row < len(found) - 1:
                    axes.set_xlabel("")
        most = max(range(len(found)), key=lambda row: len(panels[row * len(shown)].get_legend_handles_labels()[1]))
        handles, names = panels[most * len(shown)].get_legend_handles_labels()
        panels[0].figure.legend(handles, names, loc="outside upper center", ncols=len(names), fontsize=8)
    return to_png(panels[0], dpi=80)


def profile_figure(network: str, known: Mapping[str, Any]) -> bytes:
    """Mean profile of a network's mistakes and of its correct images."""
    scores = torch.tensor([known["mean of mistakes"], known["mean of right"]])
    names = [f"{known['mistakes']} mistakes", f"{known['right']} correct images"]
    filters = FilterIndex(dict(known["counts"]))
    with styled():
        axes = new_panels(9.5, 3.6, 1)[0]
    return to_png(
        profile_plot(scores, filters, axes, labels=names, title=NETWORKS[network], ylabel="mean z-score"), dpi=80
    )


def written(work: Path) -> str:
    """All tables of the results that are there."""
    known = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(work.glob("*-*.json"))}
    parts = [f"## {name}\n\n{_tables(name.partition('-')[2], content)}" for name, content in known.items()]
    for network in NETWORKS:
        for kind in KINDS:
            curves = saved_curves(work, network, kind)
            if curves:
                parts.append(f"## {network}, {kind}\n\n{_curve_tables(curves)}")
    return "\n".join(parts)


def _tables(part: str, content: Mapping[str, Any]) -> str:
    """The tables of one results file."""
    whole = {"whole": whole_table, "masking": masking_table, "maps": likeness_table}
    if part in whole:
        return whole[part](content)
    values = content[part]
    plain = {key: value for key, value in values.items() if isinstance(value, (int, float))}
    tables = {"neighbours": neighbour_table, "others": others_table, "profiles": profile_table}
    tables |= {"cascade": cascade_table}
    return f"{plain}\n\n{tables[part](values)}"


def _curve_tables(curves: Mapping[str, InterventionCurve]) -> str:
    end = min(curve.steps for curve in curves.values())
    tables = [curve_table(curves, at) for at in sorted({min(10, end), end})]
    tables += [gap_table(curves, end)] if "z-score" in curves and len(curves) > 1 else []
    return "\n".join(tables)


def figures(work: Path) -> dict[str, bytes]:
    """PNG files of the results that are there, by name."""
    found = {}
    lines = {}
    for network in NETWORKS:
        path = work / f"{network}-profiles.json"
        if path.exists():
            known = json.loads(path.read_text("utf-8"))["profiles"]
            found[f"profiles_{network}"] = fewer_colours(profile_figure(network, known))
        path = work / f"{network}-whole.json"
        if path.exists():
            lines[network] = json.loads(path.read_text("utf-8"))[f"{RATE:g}"]
    for kind in ("knocked", "tuned", "noise"):
        curves = {network: saved_curves(work, network, kind) for network in NETWORKS}
        curves = {network: arms for network, arms in curves.items() if arms}
        if curves:
            found[kind] = fewer_colours(curve_figure(curves, lines if kind == "tuned" else {}))
    return {**found, "maps": picture()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write ``tables.md`` and the figures to the work folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("parameter-saliency"), help="folder with the results")
    work = parser.parse_args(arguments).work
    (work / "tables.md").write_text(written(work), "utf-8")
    for name, content in figures(work).items():
        (work / f"parameter_saliency_{name}.png").write_bytes(content)


if __name__ == "__main__":
    main()
