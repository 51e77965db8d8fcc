"""One mistake's step tried on others, against a copy of the model for every step and image."""

from copy import deepcopy

import pytest
import torch
from repair.interventions.slow_curves import gradients_of
from repair.small_models import CLASSES, Small, drawn, same, state

from captum_paramsal import ParameterSaliency
from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.repair import fine_tune_curve, neighbors, step_transfer

RATE = 0.5
COUNT = 5


@pytest.fixture(scope="module")
def case():
    """A model, mistakes with their labels, scores of its filters, and the filters."""
    model = Small().eval()
    images = drawn(COUNT, 2, 6, 6)
    with torch.no_grad():
        labels = (model(images).argmax(dim=1) + 1) % CLASSES
    saliency = ParameterSaliency(model)
    return model, images, labels, saliency.attribute(images, target=labels), saliency.filters


def cured(case, **changed):
    model, images, labels, scores, filters = case
    given = {
        "model": model,
        "images": images,
        "labels": labels,
        "ranking": scores,
        "filters": filters,
        "others": neighbors(scores, range(COUNT), k=3).images,
        "k": 4,
        "learning_rate": RATE,
        "show_progress": False,
    }
    return step_transfer(**{**given, **changed})


@pytest.mark.parametrize("shared", [False, True])
def test_as_a_copy_for_every_step_and_image(case, shared):
    model, images, labels, scores, filters = case
    ranking = scores[0] if shared else scores
    found = cured(case, ranking=ranking)
    top = filters.top(ranking.expand(COUNT, -1), 4)
    for place, near in enumerate(found.others.tolist()):
        fresh = _moved(model, images[place], labels[place], top[place])
        for number, other in enumerate([place, *near]):
            with torch.no_grad():
                scored = torch.stack([net(images[other][None])[0] for net in (model, fresh)])
            right = scored[1].argmax() == labels[other]
            assert (found.own[place] if number == 0 else found.corrected[place, number - 1]) == right
            if number:
                chance = scored.double().softmax(dim=1)[:, labels[other]]
                both = torch.stack([found.before[place, number - 1], found.after[place, number - 1]])
                torch.testing.assert_close(both, chance)
    torch.testing.assert_close(found.change_of_true, found.after - found.before)
    assert found.change_of_true.abs().max() > 0.001


def _moved(model, image, label, filters):
    """A copy of the model after the step."""
    gradients, fresh = gradients_of(model, image[None], label[None]), deepcopy(model)
    weights = dict(fresh.named_parameters())
    with torch.no_grad():
        for one in filters:
            weights[f"{one.layer}.weight"][one.index] -= RATE * gradients[f"{one.layer}.weight"][one.index]
    return fresh


def test_itself_is_the_end_of_its_curve(case):
    model, images, labels, scores, filters = case
    curve = fine_tune_curve(model, images, labels, scores, filters, k=4, learning_rate=RATE, show_progress=False)
    found = cured(case, others=torch.arange(COUNT)[:, None])
    assert found.own.tolist() == curve.corrected[:, -1].tolist() == found.corrected[:, 0].tolist()
    torch.testing.assert_close(found.after[:, 0], curve.true[:, -1])
    torch.testing.assert_close(found.before[:, 0], curve.true[:, 0])


@pytest.mark.parametrize("query", [[3, 0], torch.tensor([3, 0])])
def test_steps_of_some_are_those_of_all(case, query):
    *_, scores, _ = case
    every = cured(case)
    few = cured(case, query=query, others=every.others[[3, 0]], ranking=scores[[3, 0]])
    for name in ("others", "own", "corrected", "before", "after"):
        assert torch.equal(getattr(few, name), getattr(every, name)[[3, 0]]), name


def test_the_model_is_left_as_it_was(case):
    model, *_ = case
    before = state(model.train())
    cured(case)
    assert same(state(model), before)
    with pytest.raises(InputError, match="Expected finite `inputs`"):
        cured(case, images=torch.full_like(case[1], torch.nan))
    assert same(state(model.eval())[0], before[0])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"others": torch.zeros(COUNT, 2)}, InputError, "whole numbers, got torch.float32"),
        ({"others": [[1]]}, InputError, "whole numbers, got list"),
        ({"others": torch.zeros(COUNT, 0, dtype=torch.long)}, InputError, r"got shape \(5, 0\)"),
        ({"others": torch.zeros(2, 2, dtype=torch.long)}, InputError, r"got shape \(2, 2\)"),
        ({"others": torch.full((COUNT, 1), COUNT)}, InputError, "from 0 to 4 for each of 5 images, got 5 to 5"),
        ({"query": [0, 5]}, InputError, r"from 0 to 4 in `query`, at least one, got \[0, 5\]"),
        ({"query": []}, InputError, r"in `query`, at least one, got \[\]"),
        ({"query": [0, 1]}, InputError, r"`others` \(2, M\) with places from 0 to 4 for each of 2 images, got shape"),
        ({"ranking": torch.zeros(COUNT, 3)}, InputError, r"shape \(5, 9\) or \(9,\), got \(5, 3\)"),
        ({"ranking": torch.full((9,), torch.nan)}, InputError, "NaN for image 0"),
        ({"k": 10}, InterventionError, "from 1 to 9, the number of filters, got 10"),
        ({"learning_rate": 0.0}, InterventionError, "`learning_rate` above 0, got 0.0"),
        ({"labels": None}, InputError, "`labels`, the true class of each image, got None"),
    ],
)
def test_what_is_refused(case, change, error, words):
    with pytest.raises(error, match=words):
        cured(case, **change)


def test_right_answers_are_refused(case):
    model, images, *_ = case
    with torch.no_grad():
        right = model(images).argmax(dim=1)
    with pytest.raises(InterventionError, match="got 5 images that the model gets right, the first of them number 0"):
        cured(case, labels=right)
