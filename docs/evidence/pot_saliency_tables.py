"""Tables and figures of the page on POT saliency."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corruptions import CORRUPTIONS
from depth_bias import top_shares
from pot_saliency_cases import FITS, Case, at_tail, stages_of
from results import fewer_colours, markdown_table, with_interval
from torch import Tensor

from captum_paramsal import ParameterSaliency, POTSaliency
from captum_paramsal.functional import p_values_of
from captum_paramsal.repair import InterventionCurve
from captum_paramsal.stats.bootstrap import bootstrap_means
from captum_paramsal.viz import intervention_plot
from captum_paramsal.viz.style import PALETTE, new_panels, to_png

__all__ = ["Curves", "write_case", "write_tails", "write_thresholds"]

Curves = dict[str, dict[str, InterventionCurve]]
"""By action and arm."""

COLUMNS = {
    "change of wrong class": "wrong class, points",
    "change of true class": "true class, points",
    "corrected": "mistakes cured, %",
    "correct images broken": "correct images broken, %",
}
FIGURE = ("change of wrong class", "corrected", "correct images broken")
TOP = 25
LEVELS = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
COMMON = ("raw profile", "last stage", "random")
"""Arms without a reference."""


def write_case(case: Case, curves: Curves, work: Path) -> None:
    """Tables of a case in a file, and its figure."""
    parts = [f"# {case.name}: {len(case.images)} mistakes\n", facts(case)]
    for action, arms in curves.items():
        steps = next(iter(arms.values())).steps
        parts += [f"## {action}, {steps} filters\n", curve_table(arms)]
        parts += ["POT (mle) minus the others, paired\n", difference_table(arms)]
    parts += ["## both\n", both_table(curves), both_differences(curves)]
    parts += [f"## stages of the top {TOP}\n", stage_table(case), f"## in common among the top {TOP}\n", common(case)]
    if case.name == "corrupted":
        parts += [f"## by kind, {action}\n{kind_table(arms)}" for action, arms in curves.items()]
    (work / f"{case.name}.md").write_text("\n".join(parts), encoding="utf-8")
    (work / f"pot_saliency_{case.name.replace('-', '_')}.png").write_bytes(figure(curves))


def facts(case: Case) -> str:
    """How large the reference is, and how many filters lie beyond their thresholds."""
    lines = []
    for arm, scores in case.rankings.items():
        if arm.startswith("POT, mle"):
            above = (scores > 0).sum(dim=1)
            lines.append(
                f"{arm}: filters above their thresholds {int(above.median())} (median), {int(above.min())} (least), "
                f"{int((above < TOP).sum())} mistakes with fewer than {TOP}"
            )
    return f"reference of {case.reference.count} images, {len(case.filters)} filters\n" + "\n".join(lines) + "\n"


def curve_table(arms: Mapping[str, InterventionCurve]) -> str:
    """Every measure with all filters changed, and the share cured with a fifth of them, one row per arm."""
    steps = next(iter(arms.values())).steps
    header = ["filters by", *COLUMNS.values(), f"cured by {steps // 5} filters, %"]
    rows = []
    for arm, curve in arms.items():
        found = curve.measures()
        cells = [with_interval(found[name][:, -1]) for name in COLUMNS]
        rows.append([arm, *cells, with_interval(found["corrected"][:, steps // 5])])
    return markdown_table(header, rows)


def both_table(curves: Curves) -> str:
    """What both actions do with all filters changed, one row per arm."""
    rows = []
    for arm in next(iter(curves.values())):
        found = [curves[action][arm].measures() for action in curves]
        rows.append([arm, *(with_interval(one[name][:, -1]) for one in found for name in FIGURE)])
    return markdown_table(_both_header(curves), rows)


def both_differences(curves: Curves) -> str:
    """POT with maximum likelihood minus the other arms, for both actions."""
    rows = []
    for pot, rival in _pairs(next(iter(curves.values()))):
        found = [arms[pot].difference(arms[rival]) for arms in curves.values()]
        cells = [signed(100 * one[name][:, -1]) for one in found for name in FIGURE]
        rows.append([f"{pot}, minus {rival}", *cells])
    return markdown_table(_both_header(curves), rows)


def _both_header(curves: Curves) -> list[str]:
    return ["filters by", *(f"{action}: {word}" for action in curves for word in ("wrong class", "cured", "broken"))]


def difference_table(arms: Mapping[str, InterventionCurve]) -> str:
    """POT with maximum likelihood minus each other arm of the same reference, with all filters changed."""
    rows = []
    for pot, rival in _pairs(arms):
        found = arms[pot].difference(arms[rival])
        cells = [signed(100 * found[name][:, -1]) for name in COLUMNS]
        rows.append([f"{pot}, minus {rival}", *cells])
    return markdown_table(["", *COLUMNS.values()], rows)


def _pairs(arms: Iterable[str]) -> Iterator[tuple[str, str]]:
    """POT's arms with maximum likelihood, each with the arms that it is to be compared with."""
    seen: list[str] = []
    for pot in [arm for arm in arms if arm.startswith("POT, mle")]:
        note = pot.removeprefix("POT, mle")
        rivals = [arm for arm in arms if arm in COMMON or arm.endswith(note)]
        yield from ((pot, rival) for rival in [*seen, *rivals] if rival != pot)
        seen.append(pot)


def signed(values: Tensor) -> str:
    """Mean, low and high ``(3,)`` with their signs."""
    mean, low, high = values.tolist()
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def stage_table(case: Case) -> str:
    """Mean shares of the stages among every mistake's top filters, in percent, and POT's minus those by z-scores."""
    names, stages = stages_of(case.filters)
    chance = torch.bincount(stages).double() / len(stages)
    rows = [["share of all filters", *(f"{100 * share:.1f}" for share in chance.tolist())]]
    found = {}
    for arm, scores in case.rankings.items():
        if arm not in ("last stage", "random"):
            shares, number = top_shares(scores, stages, TOP, above_zero=arm.startswith("POT"))
            found[arm] = shares
            known = shares[number > 0]
            rows.append([arm, *(with_interval(known[:, stage]) for stage in range(len(names)))])
    for pot in [arm for arm in found if arm.startswith("POT")]:
        rival = "z-score" + "".join(pot.partition(", ")[2].partition(", ")[1:])
        gaps = 100 * bootstrap_means(found[pot] - found[rival])
        rows.append([f"{pot}, minus {rival}", *(signed(gap) for gap in gaps.T)])
    return markdown_table(["filters by", *names], rows)


def common(case: Case) -> str:
    """How many of the top filters two arms share, averaged over mistakes."""
    arms = [arm for arm in case.rankings if arm not in ("last stage", "random")]
    tops = {arm: torch.zeros_like(case.rankings[arm], dtype=torch.bool) for arm in arms}
    for arm, mask in tops.items():
        mask.scatter_(1, case.rankings[arm].topk(TOP, dim=1).indices, True)  # noqa: FBT003 -- what is written
    rows = [[one, *(f"{(tops[one] & tops[two]).sum(1).double().mean():.1f}" for two in arms)] for one in arms]
    return markdown_table(["", *arms], rows)


def kind_table(arms: Mapping[str, InterventionCurve]) -> str:
    """Mistakes cured and correct images broken by kind of corruption, with all filters changed."""
    count = len(next(iter(arms.values())))
    kinds = torch.arange(count) // (count // len(CORRUPTIONS))
    header = ["filters by", *(f"{kind}, {what} %" for kind in CORRUPTIONS for what in ("cured", "broken"))]
    rows = []
    for arm, curve in arms.items():
        parts = [curve.where(kinds == n).measures() for n in range(len(CORRUPTIONS))]
        cells = [with_interval(one[name][:, -1], 0) for one in parts for name in ("corrected", "correct images broken")]
        rows.append([arm, *cells])
    return markdown_table(header, rows)


def figure(curves: Curves) -> bytes:
    """Curves of all arms: one column per action, one row per measure."""
    panels = new_panels(8.0, 7.8, len(FIGURE), len(curves))
    for number, panel in enumerate(panels):
        row, column = divmod(number, len(curves))
        action, arms = list(curves.items())[column]
        means = torch.stack([100 * curve.summary()[FIGURE[row]] for curve in arms.values()])
        intervention_plot(means, list(arms), COLUMNS[FIGURE[row]], ax=panel, legend=False)
        panel.set_title(action if row == 0 else "")
        panel.set_xlabel("changed filters" if row == len(FIGURE) - 1 else "")
        panel.set_ylabel(COLUMNS[FIGURE[row]] if column == 0 else "")
        if FIGURE[row] == "correct images broken":
            panel.set_ylim(0, max(20.0, panel.get_ylim()[1]))
    handles, labels = panels[0].get_legend_handles_labels()
    panels[0].figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return fewer_colours(to_png(panels[0], dpi=90))


def write_thresholds(curves: Mapping[str, InterventionCurve], usual: str, work: Path) -> None:
    """The table of POT's fine-tuning curves for several thresholds, and their differences from the usual one."""
    table = curve_table(curves)
    rows = [
        [name, *(signed(100 * curve.difference(curves[usual])[column][:, -1]) for column in COLUMNS)]
        for name, curve in curves.items()
        if name != usual
    ]
    differences = markdown_table([f"minus {usual}", *COLUMNS.values()], rows)
    (work / "thresholds.md").write_text(f"{table}\n{differences}", encoding="utf-8")


def write_tails(cases: Sequence[Case], tail: float, work: Path) -> None:
    """Shapes and fits of the tails by stage, how often held-out images lie beyond them, and a figure of both."""
    panels = new_panels(9.0, 3.4, 1, len(cases))
    parts = []
    for panel, case in zip(panels, cases, strict=True):
        reference = at_tail(case.reference, tail)
        saliency = {fit: POTSaliency(case.model, reference, fit=fit) for fit in FITS}
        probabilities = {f"POT, {fit}": p_values_of(one.score(case.held_out)) for fit, one in saliency.items()}
        z = ParameterSaliency(case.model, reference).score(case.held_out)
        probabilities["normal, of z"] = 0.5 * torch.special.erfc(z.double() / 2**0.5)
        parts += [f"# {case.name}, {reference.count} images\n", tail_table(case, saliency), exceeding(probabilities)]
        draw_exceeding(panel, probabilities, case.name)
    panels[0].legend()
    panels[0].set_ylabel("share of held-out saliencies beyond")
    (work / "tails.md").write_text("\n".join(parts), encoding="utf-8")
    (work / "pot_saliency_tails.png").write_bytes(fewer_colours(to_png(panels[0], dpi=90)))


def tail_table(case: Case, saliency: Mapping[str, POTSaliency]) -> str:
    """Shapes and rejected fits, by stage."""
    names, stages = stages_of(case.filters)
    living = saliency["mle"].tails.rate > 0
    rows = []
    for number, name in [*enumerate(names), (None, "all")]:
        chosen = living & (stages == number) if number is not None else living
        shape = saliency["mle"].tails.pareto.shape[chosen]
        low, middle, high = shape.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=shape.dtype)).tolist()
        rejected = [100 * (one.tails.goodness_of_fit[chosen] < 0.05).double().mean() for one in saliency.values()]
        cells = [f"{int(chosen.sum())}", f"{middle:.2f} ({low:.2f} to {high:.2f})", *(f"{r:.1f}" for r in rejected)]
        rows.append([name, *cells])
    return markdown_table(["stage", "filters", "shape ξ", *(f"{fit} rejected, %" for fit in saliency)], rows)


def beyond(probability: Tensor) -> Callable[[float], Tensor]:
    """Shares ``(N,)`` of an image's filters at or under a tail probability."""
    return lambda level: (probability <= level).double().mean(dim=1)


def exceeding(probabilities: Mapping[str, Tensor]) -> str:
    """How many of the held-out saliencies have a probability at or under a level, in percent."""
    rows = [
        [name, *(with_interval(beyond(values)(level), 2) for level in LEVELS)] for name, values in probabilities.items()
    ]
    return markdown_table(["tail", *(f"p ≤ {100 * level:g} %" for level in LEVELS)], rows)


def draw_exceeding(panel: Any, probabilities: Mapping[str, Tensor], title: str) -> None:
    """The same as curves, with the diagonal."""
    levels = np.geomspace(1e-4, 0.09, 30)
    for number, (name, values) in enumerate(probabilities.items()):
        shares = torch.stack([beyond(values)(level) for level in levels], dim=1)
        mean, low, high = bootstrap_means(shares).numpy()
        panel.loglog(levels, mean, color=PALETTE[number], label=name)
        panel.fill_between(levels, low, high, color=PALETTE[number], alpha=0.15, lw=0)
    panel.plot(levels, levels, color="0.5", lw=0.8)
    panel.set_title(title)
    panel.set_xlabel("tail probability p")
