"""Nearest neighbours among profiles."""

import pytest
import torch
from scipy.spatial.distance import cdist

from captum_paramsal import FilterIndex
from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.repair import neighbors

FILTERS = FilterIndex({"stem": 3, "stage.conv1": 4, "stage.conv2": 5})


def profiles(count=9, seed=0):
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("layers", "columns"), [(None, slice(0, 12)), ("stem", slice(0, 3)), ("stage.*", slice(3, 12))]
)
def test_as_scipy_finds_them(layers, columns):
    rows = profiles()
    found = neighbors(rows, [2, 5], k=4, filters=FILTERS, layers=layers)
    distances = cdist(rows[:, columns].numpy(), rows[:, columns].numpy(), "cosine")
    for place, own in enumerate((2, 5)):
        order = [one for one in distances[own].argsort() if one != own][:4]
        assert found.images[place].tolist() == order
        torch.testing.assert_close(found.similarity[place], 1 - torch.from_numpy(distances[own][order]))


def test_of_images_that_are_not_among_them():
    rows = profiles()
    found = neighbors(rows, rows[3:4] * 2, k=1)
    assert found.images.tolist() == [[3]]
    assert found.similarity.item() == pytest.approx(1)
    assert neighbors(rows, 3, k=8).images.shape == (1, 8)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"k": 9}, InterventionError, "from 1 to 8, the number of other images, got 9"),
        ({"query": [9]}, InputError, "places from 0 to 8"),
        ({"query": torch.randn(2, 3)}, InputError, r"\(Q, 12\)"),
        ({"layers": "head"}, InterventionError, "'head', which matches none"),
        ({"layers": "stem", "filters": None}, InputError, "`filters` to choose"),
        ({"profiles": torch.zeros(4, 12)}, InputError, "zeros alone in row 0"),
        ({"profiles": torch.full((4, 12), torch.nan)}, InputError, "finite `profiles`"),
        ({"profiles": torch.zeros(4, 3)}, InputError, r"\(N, 12\)"),
    ],
)
def test_what_is_refused(change, error, words):
    given = {"profiles": profiles(), "query": 0, "k": 2, "filters": FILTERS, **change}
    with pytest.raises(error, match=words):
        neighbors(**given)
