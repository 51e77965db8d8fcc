"""Which method to trust: nothing is claimed that other images might turn around."""

from math import nan

import numpy as np
import pytest
import torch
from comparison.small_runs import small_run
from metrics.small_cases import some_images
from scipy.stats import rankdata, spearmanr

from captum_paramsal.comparison import TrustSummary
from captum_paramsal.comparison.cost import COST
from captum_paramsal.metrics import Column

NAMES = ("a", "b", "c", "d", "random", "random order")


def column(name, better="higher"):
    return Column(name, "", better, "Made up.")


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trusted(measures, names=NAMES, explained=5, **options):
    """Of scores ``(M, N)`` by measure; a minus in front of a measure's name says that lower is better."""
    columns = [column(name.lstrip("-"), "lower" if name.startswith("-") else "higher") for name in measures]
    scores = torch.stack([*measures.values()], dim=1)
    return TrustSummary.of(columns, names, scores, explained, **options)


def apart(count=40, spread=0.1):
    """The later the method the higher its score, the random ones lowest."""
    level = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.0, 0.0], dtype=torch.float64)
    return level[:, None] + spread * noise(6, count)


def test_who_is_ahead_of_all_others():
    summary = trusted({"deletion": apart(), "-insertion": apart()})
    high, low = summary.ranks
    assert [one.method for one in high.methods] == ["d", "c", "b", "a"]
    assert [(one.rank, one.low, one.high) for one in high.methods] == [(k, k, k) for k in (1, 2, 3, 4)]
    assert (high.top, low.top) == (("d",), ("a",))
    assert summary.sentences[0] == "Ahead of every other method: d by deletion; a by insertion."
    assert str(summary).splitlines() == list(summary.sentences)


def test_nothing_is_claimed_where_intervals_overlap():
    scores = apart()
    scores[2] = scores[3] + noise(40, seed=5)
    summary = trusted({"deletion": scores})
    (ranks,) = summary.ranks
    assert set(ranks.top) == {"c", "d"}
    assert "No method is ahead of all others by any measure" in summary.sentences[0]
    assert "By deletion the best is one of" in summary.sentences[1]
    none = trusted({"deletion": noise(6, 40)})
    assert "By deletion any of the methods may be the best." in none.sentences


def test_as_a_slow_twin_has_it():
    scores = apart(15, spread=1.5)
    scores[1, 3] = nan
    (ranks,) = trusted({"-deletion": scores}, seed=4).ranks
    assert ranks.images == 14
    usable = [n for n in range(15) if n != 3]
    drawn = np.random.default_rng(4).integers(15, size=(2000, 15))
    table = scores[:4].numpy()
    each = [rankdata([np.mean([row[n] for n in places if n in usable]) for row in table]) for places in drawn]
    low, high = np.quantile(each, [0.025, 0.975], axis=0, method="inverted_cdf")
    found = {one.method: one for one in ranks.methods}
    point = rankdata(table[:, usable].mean(axis=1))
    for place, name in enumerate("abcd"):
        one = found[name]
        assert (one.rank, one.low, one.high) == (point[place], low[place], high[place])
    assert [one.rank for one in ranks.methods] == sorted(one.rank for one in ranks.methods)


def test_hardly_anything_is_claimed_of_methods_that_are_alike():
    claims = 0
    for seed in range(60):
        summary = trusted({"deletion": noise(5, 12, seed=seed)}, names=("a", "b", "c", "d", "e"))
        claims += len(summary.ranks[0].top) == 1
    assert claims <= 5


def test_controls_that_are_not_beaten():
    scores = apart()
    scores[5] = 2.5 + 0.1 * noise(40, seed=3)
    summary = trusted({"deletion": scores, "insertion": apart()})
    deletion, insertion = summary.ranks
    assert deletion.controls == insertion.controls == ("random", "random order")
    assert {one.method: one.unbeaten for one in deletion.methods} == {
        "d": (),
        "c": (),
        "b": ("random order",),
        "a": ("random order",),
    }
    assert "By deletion not better than every control (random order): a and b." in summary.sentences
    assert not any("insertion not better" in sentence for sentence in summary.sentences)
    worst = trusted({"-deletion": apart()})
    assert "By deletion no method is better than every control (random, random order)." in worst.sentences
    bare = trusted({"deletion": apart()[:4]}, names=NAMES[:4], explained=4)
    assert any("Nothing in the table looks at no model" in sentence for sentence in bare.sentences)


def test_measures_that_disagree():
    scores = apart()
    summary = trusted({"deletion": scores, "insertion": 3 * scores, "iou": -scores, "sense": noise(6, 40, seed=9)})
    known = {(pair.first, pair.second): pair for pair in summary.agreements}
    assert len(known) == 6
    assert known["deletion", "insertion"].correlation == 1
    against = known["deletion", "iou"]
    assert (against.correlation, against.low, against.high, against.methods) == (-1, -1, -1, 4)
    words = "rank correlation \N{MINUS SIGN}1.00, \N{MINUS SIGN}1.00 to \N{MINUS SIGN}1.00"
    assert f"deletion and iou disagree: what is good by one is bad by the other ({words})." in summary.sentences
    open_pair = known["deletion", "sense"]
    assert open_pair.low < 0 < open_pair.high
    means = [scores[:4].mean(dim=1), noise(6, 40, seed=9)[:4].mean(dim=1)]
    assert open_pair.correlation == pytest.approx(spearmanr(*means).statistic)
    assert any(sentence.startswith("Of 6 pairs of measures 3 have") for sentence in summary.sentences)
    alike = trusted({"deletion": scores, "insertion": scores})
    assert "No two measures rank the methods the opposite way beyond chance." in alike.sentences


def test_who_is_scored_on_few_images_is_not_ranked():
    scores = apart()
    scores[3, 20:] = nan
    (ranks,) = trusted({"deletion": scores}).ranks
    assert [one.method for one in ranks.methods] == ["c", "b", "a"]
    assert ranks.images == 40


def test_too_few_to_rank():
    summary = trusted({"deletion": apart(5)})
    assert not summary.ranks
    assert summary.unranked == ("deletion",)
    assert summary.sentences == ("No measure has ranks: that takes two methods with a score for the same 6 images.",)
    some = apart()
    some[:, 3:] = nan
    both = trusted({"deletion": some, "insertion": apart()})
    assert both.sentences[-1] == "Too few images or methods for ranks by deletion."
    lone = trusted({"deletion": apart()[[0, 4]]}, names=("a", "random"), explained=2)
    assert not lone.ranks


def test_what_it_costs():
    columns = [column("deletion"), *COST, column("sparsity", "")]
    scores = torch.stack([apart(), torch.arange(6.0).double()[:, None].expand(6, 40) + 0.5, apart(), apart()], dim=1)
    summary = TrustSummary.of(columns, NAMES, scores, 5)
    assert [ranks.measure for ranks in summary.ranks] == ["deletion"]
    assert summary.seconds == {"a": 0.5, "b": 1.5, "c": 2.5, "d": 3.5}
    assert "A map costs from 0.5 s (a) to 3.5 s (d) on this machine." in summary.sentences


def test_of_a_comparison():
    methods = ["saliency", "grad_cam", "random"]
    found = small_run(methods, some_images(7)[0], metrics=["deletion", "insertion"])
    summary = found.trust()
    assert [ranks.measure for ranks in summary.ranks] == ["deletion", "insertion"]
    assert {one.method for ranks in summary.ranks for one in ranks.methods} == {"saliency", "grad_cam"}
    assert summary.ranks[0].controls == ("random", "random order")
    rows = summary.to_table()
    assert [(row["metric"], row["rank"]) for row in rows] == sorted((row["metric"], row["rank"]) for row in rows)
    assert all(set(row) >= {"method", "low", "high", "images", "top", "unbeaten_controls"} for row in rows)
    assert not found.where(torch.arange(7) < 3).trust().ranks
