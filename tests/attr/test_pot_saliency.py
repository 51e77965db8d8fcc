"""POT saliency on small networks: against whole columns of profiles, fitted one by one."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from cases.tail_cases import REFERENCE_IMAGES, TAIL_CASES
from oracles.generalized_pareto import Fit, exponential, grimshaw, log_likelihood
from oracles.pot_saliency import benjamini_hochberg, excesses, fit_tail, log_p, ranking, threshold

from captum_paramsal import POTSaliency, Reference
from captum_paramsal.errors import InputError, ParamsalError, ReferenceMismatchError

FRACTION = 0.4
FITS = {"mle": grimshaw, "exponential": exponential}


@pytest.fixture(scope="module", params=TAIL_CASES)
def case(request):
    return TAIL_CASES[request.param]()


@pytest.fixture(scope="module")
def reference(case):
    return case.fit(tail=FRACTION)


@pytest.fixture(scope="module", params=FITS)
def pot(request, case, reference):
    return POTSaliency(case.model, reference, fit=request.param, layers=case.select), request.param


@pytest.fixture(scope="module")
def columns(case):
    """Of the reference, by the oracle: the values of each filter."""
    return case.profiles().T.tolist()


@pytest.fixture(scope="module")
def tails(columns, pot):
    """From the oracle's profiles alone."""
    return [fit_tail(column, FRACTION, FITS[pot[1]]) for column in columns]


def fitted(tails, found):
    """The oracle's thresholds and rates with the shapes and scales that the package found."""
    shapes, scales = found.pareto.shape.tolist(), found.pareto.scale.tolist()
    return [
        tail._replace(fit=None if tail.fit is None else Fit(shapes[j], scales[j], math.nan))
        for j, tail in enumerate(tails)
    ]


def test_thresholds_and_excesses_equal_the_whole_columns(columns, reference):
    tail = reference.tail
    assert tail.count == tail.total == REFERENCE_IMAGES
    for j, column in enumerate(columns):
        t = threshold(column, FRACTION)
        scale = max(column)
        assert float(tail.threshold[j]) == pytest.approx(t, rel=1e-9, abs=1e-12)
        above = torch.tensor(excesses(column, t), dtype=torch.float64)
        found = tail.excesses[j]
        found = found[found > 1e-9 * scale].sort(descending=True).values
        expected = above[above > 1e-9 * scale]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * scale)


def test_fits_are_as_likely_as_the_oracles(pot, tails):
    found = pot[0].tails
    for j, tail in enumerate(tails):
        if tail.fit is None:
            continue
        y = torch.tensor(tail.excesses, dtype=torch.float64).numpy()
        ours = log_likelihood(y, float(found.pareto.shape[j]), float(found.pareto.scale[j]))
        assert ours >= tail.fit.log_likelihood - 1e-6 * len(y), str(pot[0].filters[j])
        assert float(found.rate[j]) == pytest.approx(tail.rate, rel=1e-12)


def test_scores_equal_the_formula_at_the_fitted_shapes(case, pot, tails):
    saliency, _ = pot
    scores = saliency.attribute(case.images[0], target=case.images[1])
    assert scores.dtype == torch.float64
    at_fit = fitted(tails, saliency.tails)
    above = 0
    for n, profile in enumerate(case.scored_profiles().tolist()):
        for j, s in enumerate(profile):
            got, name = float(scores[n, j]), f"image {n}, {saliency.filters[j]}"
            if at_fit[j].fit is None:
                assert -1e-3 <= got < 0, f"{name}: a dead filter scores {got}"
                continue
            expected = -log_p(s, at_fit[j])
            if math.isinf(expected):
                assert got >= 745, f"{name} lies beyond the end of its tail"
            else:
                assert got == pytest.approx(expected, rel=1e-8, abs=1e-12), name
            above += expected > 0
    assert above >= 10, "too few filters above their threshold for a test"


def test_scores_equal_the_oracles_from_end_to_end(case, pot, tails):
    saliency, _ = pot
    scores = saliency.attribute(case.images[0], target=case.images[1])
    for n, profile in enumerate(case.scored_profiles().tolist()):
        for j, s in enumerate(profile):
            if tails[j].fit is None or tails[j].fit.shape <= -0.99:
                continue  # at the border of the shapes, scale and shape are not determined to many digits
            expected = -log_p(s, tails[j])
            if math.isfinite(expected):
                assert float(scores[n, j]) == pytest.approx(expected, rel=1e-4, abs=1e-12), f"{saliency.filters[j]}"


def test_p_values_are_probabilities(case, pot, tails):
    saliency, _ = pot
    given = {"inputs": case.images[0], "target": case.images[1]}
    p = saliency.p_values(**given)
    assert p.dtype == torch.float64
    at_fit = fitted(tails, saliency.tails)
    for n, profile in enumerate(case.scored_profiles().tolist()):
        expected = [math.exp(log_p(s, tail)) for s, tail in zip(profile, at_fit, strict=True)]
        assert p[n].tolist() == pytest.approx(expected, rel=1e-7, abs=0)
        assert [value == 1 for value in p[n].tolist()] == [value == 1 for value in expected]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2, 0.5])
def test_significant_is_benjamini_hochberg(case, pot, rate):
    saliency, _ = pot
    given = {"inputs": torch.cat([case.images[0], 2 * case.images[0]]), "target": case.images[1].repeat(2)}
    significant = saliency.significant(**given, false_discovery_rate=rate)
    assert significant.dtype == torch.bool
    p = saliency.p_values(**given)
    assert significant.tolist() == [benjamini_hochberg(row, rate) for row in p.tolist()]
    if rate == 0.05:
        assert torch.equal(saliency.significant(**given), significant), "5 % is the default"


def test_some_filters_are_significant_and_some_are_not():
    case = TAIL_CASES["residual"]()
    saliency = POTSaliency(case.model, case.fit(tail=FRACTION))
    significant = saliency.significant(2 * case.images[0], target=case.images[1])
    assert significant.any()
    assert not significant.all()


def test_the_ranking_is_by_probability_and_beyond_an_end_by_distance(case, pot, tails):
    saliency, _ = pot
    x, y = 3 * case.images[0], case.images[1]
    scores = saliency.attribute(x, target=y)
    at_fit = fitted(tails, saliency.tails)
    far = replace(case, images=(x, y))
    for n, profile in enumerate(far.scored_profiles().tolist()):
        expected = ranking(profile, at_fit)
        got = scores[n].argsort(descending=True, stable=True)[: len(expected)].tolist()
        assert got == expected, f"image {n}"
        assert (scores[n] > 0).nonzero()[:, 0].tolist() == sorted(expected)


def test_beyond_the_end_filters_come_first_in_the_order_of_their_distance():
    case = TAIL_CASES["in-place, dead filters"]()
    saliency = POTSaliency(case.model, case.fit(tail=FRACTION))
    x, y = 6 * case.images[0], case.images[1]
    scores, p = saliency.attribute(x, target=y), saliency.p_values(x, target=y)
    found = saliency.tails
    ended = (found.pareto.shape < 0) & (found.pareto.count > 0)
    assert ended.sum() >= 4, "too few finite ends for a test"
    profile = replace(case, images=(x, y)).scored_profiles()
    y_over = profile - found.threshold
    beyond = ended & (y_over * -found.pareto.shape >= found.pareto.scale)
    assert (beyond.sum(dim=1) >= 2).any(), "no image has two filters beyond their ends"
    assert (p[beyond] == 0).all()
    assert (scores[beyond] >= 745).all()
    assert scores.isfinite().all()
    distance = y_over / found.pareto.scale
    for n in range(len(x)):
        ours = scores[n, beyond[n]].argsort(descending=True)
        assert torch.equal(ours, distance[n, beyond[n]].argsort(descending=True))
        others = scores[n, ~beyond[n]]
        if beyond[n].any():
            assert others.max() < scores[n, beyond[n]].min()


def test_dead_filters_come_last():
    case = TAIL_CASES["in-place, dead filters"]()
    reference = case.fit(tail=FRACTION)
    dead = reference.dead.nonzero()[:, 0].tolist()
    assert len(dead) == 2
    revived = deepcopy(case.model)
    with torch.no_grad():
        revived.first.bias[2] = 0.5
    for model, given in ((case.model, reference), (revived, reference.transfer(revived))):
        for fit in FITS:
            saliency = POTSaliency(model, given, fit=fit)
            for x in (case.images[0], 0 * case.images[0], 9 * case.images[0]):
                scores = saliency.attribute(x, target=case.images[1])
                order = scores.argsort(dim=1, descending=True)
                assert set(dead) == set(order[:, -2:].flatten().tolist())
                assert (scores[:, dead] < 0).all()
                assert (saliency.p_values(x, target=case.images[1])[:, dead] == 1).all()
                assert not saliency.significant(x, target=case.images[1], false_discovery_rate=0.5)[:, dead].any()


def test_at_the_threshold_the_score_is_zero_and_above_it_at_least_the_rates():
    case = TAIL_CASES["residual"]()
    reference = case.fit(tail=FRACTION)
    saliency = POTSaliency(case.model, reference)
    scores = saliency.attribute(case.reference[0], target=case.reference[1], internal_batch_size=33)
    assert (scores >= 0).all()
    above = scores > 0
    # Of 80 images, 31 lie strictly above the 32nd largest; rounding may move the image at the threshold itself.
    assert (scores[above] >= -math.log(31 / REFERENCE_IMAGES) - 1e-9).all()
    assert ((above.sum(dim=0) - 31).abs() <= 1).all()


def test_float32_scores():
    for name, make in TAIL_CASES.items():
        case = make()
        exact = POTSaliency(case.model, case.fit(tail=FRACTION), layers=case.select)
        single = replace(
            case, model=deepcopy(case.model).float(), reference=(case.reference[0].float(), case.reference[1])
        )
        saliency = POTSaliency(single.model, single.fit(tail=FRACTION), layers=case.select)
        got = saliency.attribute(case.images[0].float(), target=case.images[1])
        assert got.dtype == torch.float32
        wanted = exact.attribute(case.images[0], target=case.images[1])
        alive = ~exact.reference.dead
        assert torch.equal(got[:, alive] > 0, wanted[:, alive] > 0), name
        moderate = (wanted < 50) & alive
        torch.testing.assert_close(got[moderate].double(), wanted[moderate], rtol=1e-2, atol=1e-3)


class TestRefusals:
    def test_a_reference_without_a_tail(self):
        case = TAIL_CASES["residual"]()
        with pytest.raises(InputError, match="tail"):
            POTSaliency(case.model, case.fit(tail=None))

    @pytest.mark.parametrize("fraction", [0.1, 0.2])
    def test_too_few_excesses(self, fraction):
        case = TAIL_CASES["residual"]()
        with pytest.raises(InputError, match="20"):
            POTSaliency(case.model, case.fit(tail=fraction))

    def test_saliency_that_does_not_vary(self):
        case = TAIL_CASES["residual"]()
        image, label = case.images[0][:1], case.images[1][:1]
        same = [(image.expand(300, *image.shape[1:]), label.expand(300))]
        reference = Reference.fit(case.model, same, tail=0.1, show_progress=False)
        with pytest.raises(InputError, match="which are enough: their saliency hardly varies"):
            POTSaliency(case.model, reference)

    def test_just_enough_excesses(self):
        case = TAIL_CASES["residual"]()
        assert POTSaliency(case.model, case.fit(tail=0.26)).tails.pareto.count.min() == 20

    @pytest.mark.parametrize("fraction", [0.0, -0.1, 0.6, 1.0])
    def test_a_fraction_outside_of_its_range(self, fraction):
        case = TAIL_CASES["residual"]()
        with pytest.raises(ParamsalError, match=str(fraction)):
            case.fit(tail=fraction)

    def test_an_unknown_fit(self):
        case = TAIL_CASES["residual"]()
        with pytest.raises(ParamsalError, match="spot"):
            POTSaliency(case.model, case.fit(tail=FRACTION), fit="spot")

    def test_no_reference(self):
        case = TAIL_CASES["residual"]()
        with pytest.raises(InputError, match="Expected a Reference with upper tails, got NoneType"):
            POTSaliency(case.model, None)

    @pytest.mark.parametrize("rate", [0.0, -0.05, 1.5, float("nan")])
    def test_a_false_discovery_rate_outside_of_its_range(self, rate):
        case = TAIL_CASES["residual"]()
        saliency = POTSaliency(case.model, case.fit(tail=FRACTION))
        with pytest.raises(ParamsalError, match=str(rate)):
            saliency.significant(case.images[0], target=case.images[1], false_discovery_rate=rate)

    def test_other_weights(self):
        case = TAIL_CASES["residual"]()
        reference = case.fit(tail=FRACTION)
        other = deepcopy(case.model)
        with torch.no_grad():
            other.stem.weight.mul_(2)
        with pytest.raises(ReferenceMismatchError, match="stem"):
            POTSaliency(other, reference).attribute(case.images[0], target=case.images[1])


def test_a_saved_reference_gives_the_same_scores(tmp_path):
    case = TAIL_CASES["grouped"]()
    reference = case.fit(tail=FRACTION)
    reference.save(tmp_path / "reference.safetensors")
    loaded = Reference.load(tmp_path / "reference.safetensors")
    given = {"inputs": case.images[0], "target": case.images[1]}
    expected = POTSaliency(case.model, reference).attribute(**given)
    assert torch.equal(POTSaliency(case.model, loaded).attribute(**given), expected)


def test_merged_references_give_the_same_scores():
    case = TAIL_CASES["grouped"]()
    x, y = case.reference
    parts = [
        Reference.fit(case.model, [(x[a:b], y[a:b])], tail=FRACTION, total=len(x), show_progress=False)
        for a, b in ((0, 33), (33, 66), (66, 80))
    ]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    given = {"inputs": case.images[0], "target": case.images[1]}
    expected = POTSaliency(case.model, case.fit(tail=FRACTION)).attribute(**given)
    torch.testing.assert_close(POTSaliency(case.model, merged).attribute(**given), expected, rtol=1e-9, atol=1e-12)
