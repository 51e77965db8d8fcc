"""Models with a score per class and place: the loss is taken at one place per image."""

import pytest
import torch
from cases.images import image
from cases.networks import Dense
from cases.scores import scores_of
from oracles.deviation import assert_exact
from oracles.parameter_saliency import cross_entropy, profile_loop
from oracles.weights import seeded

LAYERS = ["first", "second"]


def loss_at_places(logits, places):
    """Cross-entropy over the classes at each image's own place; ``places`` is ``(N, 3)``: class, row, column."""
    at = torch.stack([z[:, row, column] for z, (_, row, column) in zip(logits, places.tolist(), strict=True)])
    return cross_entropy(at, places[:, 0])


@pytest.mark.parametrize(
    ("target", "places"),
    [
        ((2, 1, 3), [(2, 1, 3)] * 3),
        ([(2, 1, 3), (0, 0, 0), (1, 4, 4)], [(2, 1, 3), (0, 0, 0), (1, 4, 4)]),
    ],
    ids=["one place", "a place per image"],
)
def test_places(target, places):
    model, x = seeded(Dense().double()), image(3, 2, 5, 5)
    exact = profile_loop(model, x, torch.tensor(places), LAYERS, loss=loss_at_places)
    for size in (None, 1, 2):
        assert_exact(f"internal_batch_size={size}", scores_of(model, x, target, internal_batch_size=size), exact)
