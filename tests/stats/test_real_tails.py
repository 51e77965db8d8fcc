"""Tails, POT scores and pixel maps of trained networks on real images."""

import math
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from cases import real_models as real
from oracles.generalized_pareto import Fit, grimshaw, log_likelihood, scipy_fit
from oracles.input_space_saliency import input_space_loop, standardized, tail_scores
from oracles.parameter_saliency import convolutions
from oracles.pot_saliency import Tail, benjamini_hochberg, excesses, log_p, threshold
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from captum_paramsal import InputSpaceSaliency, ParameterSaliency, POTSaliency, Reference

pytestmark = pytest.mark.data
NETWORKS = ["ResNet-20", pytest.param("SqueezeNet", marks=pytest.mark.slow)]


@dataclass
class Network:
    """A trained network, the profiles of its reference images as one matrix, and images that are not among them."""

    name: str
    model: nn.Module
    layers: list[str]
    reference: Reference
    matrix: Tensor
    images: Tensor
    labels: Tensor

    def mistakes(self, count: int) -> tuple[Tensor, Tensor]:
        """The images with the largest loss, and their labels."""
        with torch.no_grad():
            loss = nn.functional.cross_entropy(self.model(self.images), self.labels, reduction="none")
        worst = loss.topk(count).indices
        return self.images[worst], self.labels[worst]


def network(name: str, data, count: int, tail: float) -> Network:
    if name == "SqueezeNet":
        model, (images, labels) = real.squeezenet(data), real.imagenet(data, count + 10)
        layers = [layer for layer in convolutions(model) if layer != "classifier.1"]
    else:
        model, (images, labels) = real.resnet20(data), real.cifar10(data, count + 40)
        layers = convolutions(model)
    batches = list(zip(images[:count].split(30), labels[:count].split(30), strict=True))
    reference = Reference.fit(model, batches, tail=tail, total=count, show_progress=False)
    saliency = ParameterSaliency(model)
    matrix = torch.cat([saliency.attribute(x, target=y) for x, y in batches])
    return Network(name, model, layers, reference, matrix, images[count:], labels[count:])


@pytest.fixture(scope="module", params=NETWORKS)
def small(request, paramsal_data):
    if request.param == "SqueezeNet":
        return network("SqueezeNet", paramsal_data, 60, 0.5)
    return network("ResNet-20", paramsal_data, 120, 0.2)


@pytest.mark.slow
def test_the_streamed_tail_is_that_of_the_whole_matrix(small):
    tail, columns = small.reference.tail, small.matrix.T.tolist()
    # The pass may batch the images otherwise than `attribute` did: equal up to the rounding of single precision.
    largest = small.matrix.amax(dim=0).double()
    off = 0
    for j, column in enumerate(columns):
        t = threshold(column, tail.fraction)
        above = torch.tensor(excesses(column, t), dtype=torch.float64)
        found = tail.excesses[j]
        found = found[found > 0].sort(descending=True).values
        close = abs(float(tail.threshold[j]) - t) <= 1e-4 * float(largest[j])
        close = close and len(found) == len(above)
        close = close and bool(((found - above).abs() <= 1e-3 * largest[j]).all())
        off += not close
    assert off <= 0.01 * len(columns), f"{off} of {len(columns)} tails differ"


@pytest.mark.slow
def test_scores_p_values_and_significance_are_the_literal_ones(small):
    images, labels = small.mistakes(4)
    pot = POTSaliency(small.model, small.reference)
    given = {"inputs": images, "target": labels}
    scores, p = pot.attribute(**given), pot.p_values(**given)
    profiles = ParameterSaliency(small.model).attribute(**given)
    found = pot.tails
    rows = zip(found.threshold, found.rate, found.pareto.shape, found.pareto.scale, strict=True)
    tails = [
        Tail(float(t), excesses(column, float(t)), float(r), Fit(float(c), float(s), 0.0) if r > 0 else None)
        for column, (t, r, c, s) in zip(small.matrix.T.tolist(), rows, strict=True)
    ]
    assert (scores > 0).any()
    for n in range(len(images)):
        expected = np.array([log_p(s, tail) for s, tail in zip(profiles[n].tolist(), tails, strict=True)])
        beyond = np.isinf(expected)
        assert (scores[n].numpy()[beyond] >= 745).all()
        assert (p[n].numpy()[beyond] == 0).all()
        np.testing.assert_allclose(p[n].numpy(), np.exp(expected), rtol=1e-3, atol=1e-300)
        inside = ~beyond & (expected < 0)
        np.testing.assert_allclose(scores[n].numpy()[inside], -expected[inside], rtol=1e-4)
        significant = pot.significant(**given)[n].tolist()
        assert significant == benjamini_hochberg(p[n].tolist(), 0.05)


@pytest.mark.parametrize("method", ["standardized", "POT", pytest.param("exponential", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_pixel_maps_are_those_of_one_double_backward_pass_per_image(small, method):
    images, labels = small.mistakes(2)
    double = deepcopy(small.model).double()

    def saliency(model, reference):
        if method == "standardized":
            return ParameterSaliency(model, reference)
        return POTSaliency(model, reference, fit="mle" if method == "POT" else "exponential")

    exact = saliency(double, small.reference.transfer(double))
    if method == "standardized":
        scoring, living = standardized(exact.reference.mean, exact.reference.std), exact.reference.std > 0
    else:
        found = exact.tails
        scoring = tail_scores(found.threshold, found.rate, found.pareto.shape, found.scale)
        living = found.rate > 0
    (expected,) = input_space_loop(double, images.double(), labels, small.layers, scoring=scoring, living=living)
    got = InputSpaceSaliency(exact).attribute(images.double(), target=labels)
    scale = expected.flatten(1).abs().amax(dim=1)
    assert (scale > 0).all()
    worst = float(((got - expected).flatten(1).abs().amax(dim=1) / scale).max())
    assert worst <= 1e-9, f"{worst:.3g} of the map's largest value"
    # In single precision the loop itself strays from the exact map, and a batched forward pass rounds ties its own way.
    pixels = InputSpaceSaliency(saliency(small.model, small.reference))
    single, together = (pixels.attribute(images, target=labels, internal_batch_size=size) for size in (1, None))
    assert single.dtype == together.dtype == torch.float32
    (loop,) = input_space_loop(small.model, images, labels, small.layers, scoring=scoring, living=living)
    cosines = cosine_similarity(single.double().flatten(1), loop.double().flatten(1), dim=1)
    assert float(cosines.min()) >= 0.9999, f"cosines {cosines.tolist()}"
    cosines = cosine_similarity(together.double().flatten(1), expected.flatten(1), dim=1)
    assert float(cosines.min()) >= 0.999, f"cosines {cosines.tolist()}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count", "tail"), [("ResNet-20", 2100, 0.1), ("SqueezeNet", 390, 0.25)])
def test_fits_of_real_tails_are_as_likely_as_scipys(paramsal_data, name, count, tail):
    trained = network(name, paramsal_data, count, tail)
    pot = POTSaliency(trained.model, trained.reference)
    fits, every = pot.tails.pareto, pot.reference.tail.excesses
    living = ((pot.tails.rate > 0) & ~fits.fallback).nonzero()[:, 0]
    sample = living[:: max(1, len(living) // 220)]
    assert len(sample) >= 200
    failures, bounded = [], 0
    for j in sample.tolist():
        y = every[j][every[j] > 0].numpy()
        ours = log_likelihood(y, float(fits.shape[j]), float(fits.scale[j]))
        theirs = scipy_fit(y)
        bounded += theirs.shape > -1
        bar = max(grimshaw(y).log_likelihood, theirs.log_likelihood if theirs.shape > -1 else -math.inf)
        if not ours >= bar - 1e-6 * len(y):
            failures.append(f"{pot.filters[j]}: {bar - ours:.3g}")
    assert not failures, f"{len(failures)} of {len(sample)} less likely: {failures[:5]}"
    assert bounded > 0.9 * len(sample)
