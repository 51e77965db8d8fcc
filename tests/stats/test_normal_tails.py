"""Proposition 1 of POT saliency as a theorem: z-scores rank as peaks over threshold do under a normal tail.

Or under any other that all filters share up to place and width; not where filters differ in shape.
"""

import pytest
import torch
from scipy.stats import norm

from captum_paramsal.functional import normal_tail_scores, standardize
from captum_paramsal.stats import FilterTails, Moments, UpperTail

FILTERS, IMAGES = 24, 4000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def places_and_widths():
    """Of profiles: from 1e-6 to 1e3, and as different in width."""
    seed = generator(1)
    width = 10 ** (9 * torch.rand(FILTERS, generator=seed, dtype=torch.float64) - 6)
    return width * torch.randn(FILTERS, generator=seed, dtype=torch.float64), width


def scores_of(reference, images, fit="mle"):
    """Scores in nats, z-scores, and what lies above its threshold, each ``(N, F)``."""
    tails, moments = FilterTails.fit(UpperTail.of(reference, 0.10), fit), Moments.of(reference)
    return tails.scores(images), standardize(images, moments.mean, moments.std), images > tails.threshold


def discordant(scores, z, above):
    """Share of the pairs of an image's filters, both above their thresholds, that the two rankings order otherwise."""
    pairs = above[:, :, None] & above[:, None, :]
    by_score, by_z = (values[:, :, None] - values[:, None, :] for values in (scores, z))
    # Of filters that are as far out as each other up to the fit's accuracy no order is asked.
    apart = pairs & (by_z.abs() > 1e-4)
    return float((by_score.sign() != by_z.sign())[apart].double().mean())


FAMILIES = {
    "normal": lambda shape: torch.randn(shape, generator=generator(2), dtype=torch.float64),
    "exponential": lambda shape: torch.rand(shape, generator=generator(3), dtype=torch.float64).log().neg(),
    "lognormal": lambda shape: (1.3 * torch.randn(shape, generator=generator(4), dtype=torch.float64)).exp(),
}


@pytest.mark.parametrize("fit", ["mle", "exponential"])
@pytest.mark.parametrize("family", FAMILIES)
def test_filters_of_one_family_are_ranked_alike(family, fit):
    """Exactly: the same standard values in each filter, in another order, so that no chance is in it."""
    place, width = places_and_widths()
    values = FAMILIES[family]((IMAGES, 1)).expand(IMAGES, FILTERS)
    order = torch.rand(IMAGES, FILTERS, generator=generator(5)).argsort(dim=0)
    reference = place + width * values.gather(0, order)
    images = place + width * FAMILIES[family]((200, FILTERS))
    scores, z, above = scores_of(reference, images, fit)
    assert int((above.sum(dim=1) > 1).sum()) > 100
    assert discordant(scores, z, above) == 0


def test_normal_filters_have_the_probabilities_of_the_normal_tail():
    """By chance: independent filters, whose fitted tails are off by no more than a fit of 2,000 excesses is."""
    place, width = places_and_widths()
    reference = place + width * FAMILIES["normal"]((20000, FILTERS))
    # One image for each distance; all filters lie that far out.
    distance = torch.linspace(1.4, 3.2, 10, dtype=torch.float64)[:, None].expand(-1, FILTERS)
    scores, z, above = scores_of(reference, place + width * distance)
    assert above.all()
    expected = normal_tail_scores(z)
    torch.testing.assert_close(scores.mean(dim=1), expected.mean(dim=1), rtol=0.02, atol=0)
    assert float((scores / expected - 1).abs().max()) < 0.1


def test_filters_of_two_families_are_not():
    """At the same z-score a normal filter is further out than a lognormal one."""
    heavy = torch.arange(FILTERS) % 2 == 0
    values = torch.where(heavy, FAMILIES["lognormal"]((IMAGES, FILTERS)), FAMILIES["normal"]((IMAGES, FILTERS)))
    moments = Moments.of(values)
    distance = 3 + 0.1 * torch.rand(50, FILTERS, generator=generator(6), dtype=torch.float64)
    scores, z, above = scores_of(values, moments.mean + distance * moments.std)
    assert above.all()
    assert float(scores[:, ~heavy].min()) > float(scores[:, heavy].max())
    assert discordant(scores, z, above) > 0.2


def test_the_probability_is_that_of_the_threshold_times_what_lies_beyond_it():
    z, threshold = torch.linspace(1.3, 9.0, 40, dtype=torch.float64), 1.2816
    rate = norm.sf(threshold)
    beyond = torch.from_numpy(norm.sf(z.numpy())) / rate
    scores = normal_tail_scores(z)
    torch.testing.assert_close(scores, -(rate * beyond).log())
    assert (scores.diff() > 0).all()
    # Where the probability underflows the score goes on.
    assert torch.isfinite(normal_tail_scores(torch.tensor([40.0, 100.0], dtype=torch.float64))).all()
