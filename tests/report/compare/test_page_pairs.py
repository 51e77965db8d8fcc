from dataclasses import replace

import pytest
import torch
from report.compare.small_comparisons import small_comparison
from report.pages import Page

from captum_paramsal.report.compare.page import compare_page
from captum_paramsal.report.compare.page_pairs import best_mean, best_method, pair_rows, verdict


def scored(rows, better="lower", column=0):
    """A comparison whose first column has these scores by three methods, and is all there is but for the costs."""
    found = small_comparison(metrics=["deletion"], methods=["saliency", "grad_cam", "model_doctor"], shown=0)
    comparison = found.comparison
    scores = comparison.scores.clone()
    scores[:3, column] = torch.tensor(rows, dtype=torch.float64)
    columns = (replace(comparison.columns[0], better=better), *comparison.columns[1:])
    return replace(found, comparison=replace(comparison, scores=scores, columns=columns))


BASE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


@pytest.mark.parametrize(("better", "best"), [("lower", "saliency"), ("higher", "model_doctor")])
def test_the_best_against_the_others(better, best):
    found = scored([BASE, [one + 1 for one in BASE], [one + 2 + 0.01 * n for n, one in enumerate(BASE)]], better)
    note = found.comparison.columns[0]
    assert best_method(found, 0) == best
    rows = {row.other: row for row in pair_rows(found, note, best)}
    assert {*rows} == {"saliency", "grad_cam", "model_doctor", "random order"} - {best}
    assert [name for name, row in rows.items() if row.baseline] == ["random order"]
    expected = {"lower": ("\N{MINUS SIGN}1", "\N{MINUS SIGN}1 to \N{MINUS SIGN}1"), "higher": ("1.03", None)}[better]
    assert rows["grad_cam"].difference == expected[0]
    assert expected[1] in (None, rows["grad_cam"].interval)
    assert rows["grad_cam"].images == 8
    assert rows["grad_cam"].apart
    assert best in verdict(found, note, best)


@pytest.mark.usefixtures("undrawn")
def test_differences_are_on_the_page_with_their_unit():
    found = scored([BASE, [one + 1 for one in BASE], [one + 2 for one in BASE]])
    page = Page(compare_page(found))
    assert page.text.count("against the others, on the same images") == 1
    assert "saliency against the others, on the same images" in page.text
    assert "less what the other scores, in probability (lower is better)" in page.text
    assert "saliency minus" in page.text
    assert "corrected by Holm" in page.text


@pytest.mark.usefixtures("undrawn")
def test_who_is_scored_on_few_images_is_not_the_best():
    few = [0.0, 0.0, *[torch.nan] * 6]
    found = scored([few, [one + 1 for one in BASE], [one + 2 for one in BASE]])
    assert best_method(found, 0) == "grad_cam"
    table = found.tables["all"]
    assert best_mean(table[0 : 3 * 3 : 3]) == pytest.approx(1.45)
    text = Page(compare_page(found)).text
    counts = [int(part.scores[0, 0].isfinite().sum()) for part in found.groups.values()]
    sizes = [len(part) for part in found.groups.values()]
    assert all(f"{count} of {size}" in text for count, size in zip(counts, sizes, strict=True) if count)


@pytest.mark.usefixtures("undrawn")
def test_costs_of_a_batch_are_no_sample():
    """The images of a batch share its time: they have no interval, and no test between methods."""
    found = small_comparison(metrics=["deletion"], shown=0)
    rows = [row for row in found.to_dict()["table"] if row["metric"] in ("seconds", "peak memory")]
    assert rows
    assert all(row["low"] is row["high"] is None for row in rows)
    assert any(row["mean"] is not None for row in rows)
    assert {pair["metric"] for pair in found.to_dict()["paired"]} == {"deletion"}
    assert "no interval and no test" in Page(compare_page(found)).text
