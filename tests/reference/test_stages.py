"""Mean and standard deviation of the gradients by stage."""

import numpy as np
import pytest
import torch

from captum_paramsal import FilterIndex, Reference
from captum_paramsal.errors import InputError, LayerError
from captum_paramsal.files import Fingerprint
from captum_paramsal.stats import Moments

INDEX = FilterIndex({"stem": 3, "block[0].conv": 4, "block[1].conv": 2})


def reference(dead=()):
    rows = torch.rand(30, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[:, list(dead)] = 0.25
    return Reference(INDEX, Moments.of(rows), Fingerprint({}), "cross_entropy"), rows.numpy()


def test_quartiles_over_the_filters_of_each_stage():
    found, rows = reference()
    stages = found.by_stage({"last": ("block*1*", "block*0*"), "first": "stem"})
    assert (stages.stages, stages.filters, stages.dead) == (("last", "first"), (6, 3), (0, 0))
    for place, columns in enumerate((slice(3, 9), slice(0, 3))):
        mean, std = rows[:, columns].mean(axis=0), rows[:, columns].std(axis=0, ddof=1)
        for got, values in ((stages.mean, mean), (stages.std, std), (stages.variation, std / mean)):
            np.testing.assert_allclose(got[place].numpy(), np.quantile(values, [0.25, 0.5, 0.75]), rtol=1e-12)
    row = stages.to_table()[1]
    assert (row["stage"], row["filters"], row["dead"]) == ("first", 3, 0)
    assert [row["std low"], row["std"], row["std high"]] == stages.std[1].tolist()
    assert "2: last, first" in repr(stages)


def test_every_layer_by_default_whatever_its_name():
    stages = reference()[0].by_stage()
    assert (stages.stages, stages.filters) == (INDEX.layers, (3, 4, 2))


def test_dead_filters_are_counted_and_left_out():
    found, rows = reference(dead=(0, 7, 8))
    stages = found.by_stage()
    assert stages.dead == (1, 0, 2)
    np.testing.assert_allclose(float(stages.mean[0, 1]), np.median(rows[:, 1:3].mean(axis=0)))
    assert stages.mean[2].isnan().all()
    assert stages.variation[2].isnan().all()


def test_what_is_refused():
    found, _ = reference()
    with pytest.raises(LayerError, match=r"Expected patterns of stem, .* got 'head\*', which matches none"):
        found.by_stage({"first": "stem", "last": "head*"})
    with pytest.raises(InputError, match="at least one stage"):
        found.by_stage({})
