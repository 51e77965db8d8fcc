"""What a comparison tells: on some of the images, as tables, and as differences between methods."""

from math import isnan, nan

import numpy as np
import pytest
import torch
from comparison.small_runs import same, small_run
from metrics.small_cases import some_images
from scipy.stats import spearmanr, wilcoxon

from captum_paramsal.comparison import Comparison, paired_differences
from captum_paramsal.comparison.agreement import rank_agreement
from captum_paramsal.comparison.statistics import holm
from captum_paramsal.errors import InputError


@pytest.fixture(scope="module")
def found():
    return small_run(["saliency", "grad_cam"], some_images(5)[0], metrics=["deletion", "sparsity"], keep=3)


def test_on_some_of_the_images(found):
    images = torch.tensor([False, True, False, True, True])
    part = found.where(images)
    assert len(part) == 3
    torch.testing.assert_close(part.scores, found.scores[:, :, images], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(part.targets, found.targets[images])
    torch.testing.assert_close(part.agreement, found.agreements[images].nanmean(dim=0), equal_nan=True)
    assert part.kept == (0,)
    assert torch.equal(part.maps[0], found.maps[1])
    assert part.context == found.context


def test_mistakes_and_right_ones_apart(found):
    wrong = found.predicted != torch.tensor([0, 1, 2, 3, 0])
    assert len(found.where(wrong)) + len(found.where(~wrong)) == 5
    none = found.where(torch.zeros(5, dtype=torch.bool))
    assert isnan(none.table()[0]["mean"])
    assert none.table()[0]["images"] == 0


def test_parts_joined_are_the_whole(found):
    first = torch.tensor([True, True, False, False, False])
    assert same(Comparison.joined([found.where(first), found.where(~first)]), found, but=())
    turned = found.reordered(torch.tensor([4, 3, 2, 1, 0]))
    torch.testing.assert_close(turned.scores, found.scores.flip(2), rtol=0, atol=0, equal_nan=True)
    assert turned.kept == (2, 3, 4)
    assert torch.equal(turned.pictures[0], found.pictures[2])


@pytest.mark.parametrize("images", [torch.tensor([0, 1]), torch.ones(4, dtype=torch.bool), torch.arange(5)])
def test_images_that_are_not_chosen_by_one_bool_each(found, images):
    with pytest.raises(InputError, match="Expected one bool per image"):
        found.where(images)


def test_table(found):
    rows = found.table()
    assert len(rows) == len(found.methods) * len(found.columns)
    row = next(row for row in rows if row["method"] == "grad_cam" and row["metric"] == "deletion")
    values = found.column("deletion")[1]
    assert row["mean"] == pytest.approx(float(values.mean()))
    assert row["low"] < row["mean"] < row["high"]
    assert (row["images"], row["degenerate"], row["failed"], row["better"]) == (5, 0, 0, "lower")
    assert rows[-1]["method"] == "random order"
    assert found.table(seed=0) == rows or any(isnan(row["mean"]) for row in rows)
    with pytest.raises(InputError, match="one of the columns deletion, sparsity, seconds, peak memory, got 'sparse'"):
        found.column("sparse")


def test_per_image(found):
    rows = found.per_image()
    assert len(rows) == 5 * len(found.methods)
    assert rows[1]["method"] == "grad_cam"
    assert rows[1]["deletion"] == float(found.column("deletion")[1, 0])
    assert (rows[-1]["image"], rows[-1]["target"]) == (4, int(found.targets[4]))


def test_data_frame(found):
    pandas = pytest.importorskip("pandas")
    frame = found.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    means = frame.groupby("method")["deletion"].mean()
    assert means["grad_cam"] == pytest.approx(float(found.column("deletion")[1].mean()))


def test_paired_as_scipy_has_it():
    random = np.random.default_rng(0)
    values = torch.from_numpy(random.normal(size=(3, 20)) + np.array([[0.0], [0.4], [1.5]]))
    values[0, 3], values[1, 5] = nan, nan
    values[1, 7] = values[0, 7]
    pairs = paired_differences(["a", "b", "c"], values)
    assert [(pair.first, pair.second, pair.images) for pair in pairs] == [
        ("a", "b", 18),
        ("a", "c", 19),
        ("b", "c", 19),
    ]
    for pair, (i, j) in zip(pairs, [(0, 1), (0, 2), (1, 2)], strict=True):
        difference = (values[i] - values[j]).numpy()
        difference = difference[~np.isnan(difference) & (difference != 0)]
        assert pair.p_value == pytest.approx(wilcoxon(difference).pvalue)
        assert pair.mean == pytest.approx(float((values[i] - values[j]).nanmean()))
        assert pair.interval[0] < pair.mean < pair.interval[1]
    p = sorted(pair.p_value for pair in pairs)
    adjusted = sorted(pair.adjusted for pair in pairs)
    assert adjusted == pytest.approx([3 * p[0], max(3 * p[0], 2 * p[1]), max(3 * p[0], 2 * p[1], p[2])])


def test_no_test_where_hardly_an_image_differs():
    values = torch.zeros(2, 9)
    values[0, :5] = torch.arange(5) + 1.0
    (pair,) = paired_differences(["a", "b"], values)
    assert isnan(pair.p_value)
    assert isnan(pair.adjusted)
    (pair,) = paired_differences(["a", "b"], torch.full((2, 4), nan))
    assert pair.images == 0
    assert isnan(pair.mean)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, nan]) == pytest.approx([0.03, 0.06, 0.06, nan], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_rank_agreement_as_scipy_has_it():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(5, (3, 4, 6, 7), generator=generator).double()
    found = rank_agreement(maps)
    for image in range(4):
        expected = spearmanr(maps[:, image].flatten(1).T.numpy()).statistic
        torch.testing.assert_close(found[image], torch.from_numpy(expected))


def test_rank_agreement_of_maps_without_ranks():
    maps = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    maps[0, 0], maps[1, 0, 2, 2], maps[2, 1, 0, 0] = 0.3, nan, torch.inf
    found = rank_agreement(maps)
    assert found[0].isnan().tolist() == [[True, True, True], [True, True, True], [True, True, False]]
    assert found[1].isnan().tolist() == [[False, False, True], [False, False, True], [True, True, True]]
