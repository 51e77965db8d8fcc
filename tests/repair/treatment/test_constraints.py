from itertools import product
from types import SimpleNamespace

import pytest
import torch
from repair.small_models import CHANNELS, CLASSES, Linearised, Small, drawn, labelled, relevant
from torch import nn
from torch.func import functional_call

from captum_paramsal.errors import InputError, LayerError, TargetError
from captum_paramsal.hooks import feature_maps
from captum_paramsal.repair import Constraints, channel_constraint, space_constraint

OPTIONS = [
    {"first": first, "second": second, "reduce": reduce, "multiply_by_inputs": multiplied}
    for first, second, reduce, multiplied in product(
        ("label", "predicted"), ("masked", "all"), ("abs", "relu"), (False, True)
    )
]


def seen(model, images, layer="features.3"):
    with feature_maps(model, layer) as maps:
        return model(images), maps.latest


def oracle(model, image, label, foreground, options):
    """Both constraints of one image, channel by channel and place by place."""
    scores, maps = seen(model, image[None])
    order = scores[0].argsort(descending=True).tolist()
    wrong = order[1] if order[0] == label else order[0]
    first = label if options["first"] == "label" else order[0]

    def evidence(n):
        (gradient,) = torch.autograd.grad(scores[0, n], maps, retain_graph=True)
        gradient = gradient[0] * (maps[0].detach() if options["multiply_by_inputs"] else 1)
        return gradient.abs() if options["reduce"] == "abs" else gradient.clamp(min=0)

    channel, space, marks = 0.0, 0.0, relevant()
    for k in range(CHANNELS):
        channel += 0.0 if marks[first, k] else evidence(first)[k].sum().item()
        channel += evidence(wrong)[k].sum().item() if marks[wrong, k] or options["second"] == "all" else 0.0
        space += ((1 - foreground) * evidence(label)[k]).sum().item()
    return channel, space


@pytest.mark.parametrize("options", OPTIONS)
def test_equal_a_program_that_takes_one_image_and_one_channel_at_a_time(options):
    model = Linearised().double().eval()
    images, labels, foreground = labelled(9, size=4)
    images, foreground = 3 * images.double(), foreground.double()
    single = [oracle(model, *one, options) for one in zip(images, labels.tolist(), foreground, strict=True)]
    channel, space = torch.tensor(single, dtype=torch.float64).mean(dim=0)
    scores, maps = seen(model, images)
    assert (scores.argmax(dim=1) != labels).any()
    torch.testing.assert_close(channel_constraint(scores, maps, labels, relevant(), **options), channel)
    kind = {name: options[name] for name in ("reduce", "multiply_by_inputs")}
    torch.testing.assert_close(space_constraint(scores, maps, labels, foreground, **kind), space)
    both = Constraints("features.3", relevant(), **options).penalties(scores, maps, labels, foreground)
    torch.testing.assert_close(both, {"channel": channel, "space": space})


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_are_not_zero_and_match_finite_differences(options):
    model = Linearised().double().eval()
    images, labels, foreground = (part.double() if part.is_floating_point() else part for part in labelled(3, size=4))
    parameters = {name: value.detach().requires_grad_() for name, value in model.named_parameters()}
    constraints = Constraints("features.3", relevant(), **options)

    def penalties(*values):
        with feature_maps(model, "features.3") as maps:
            scores = functional_call(model, dict(zip(parameters, values, strict=True)), (images,))
            return tuple(constraints.penalties(scores, maps.latest, labels, foreground).values())

    with torch.no_grad():
        steps = [1e-7 * drawn(*value.shape, seed=n).double() for n, value in enumerate(parameters.values())]
    values = list(parameters.values())
    for number, term in enumerate(penalties(*values)):
        gradients = torch.autograd.grad(term, values, retain_graph=True, allow_unused=True)
        found = {
            name: (gradient, step)
            for name, gradient, step in zip(parameters, gradients, steps, strict=True)
            if gradient is not None and gradient.any()
        }
        assert {"features.0.weight", "features.3.weight", "classifier.0.weight", "classifier.2.weight"} <= {*found}
        for name, (gradient, step) in found.items():
            ahead, behind = (
                penalties(*((value + sign * step) if key == name else value for key, value in parameters.items()))
                for sign in (1, -1)
            )
            difference = (ahead[number] - behind[number]).item() / 2
            assert difference == pytest.approx((gradient * step).sum().item(), rel=1e-4, abs=1e-13)


def test_behind_relu_and_global_pool_the_constraint_is_the_weights_and_trains_them_alone():
    """dz_n / dm_k is w(n, k) / (H W) where m > 0, and the gate has no derivative of its own."""
    model = Small().double().eval()
    images, labels, foreground = (part.double() if part.is_floating_point() else part for part in labelled(6))
    scores, maps = seen(model, images)
    weight, marks = model.classifier.weight, relevant()
    wrong = scores.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
    gate = (maps > 0).double() / 36
    active = gate.sum(dim=(2, 3))
    channel = ((~marks[labels] * weight[labels].abs() + marks[wrong] * weight[wrong].abs()) * active).sum(dim=1).mean()
    background = (gate * (1 - foreground)[:, None]).sum(dim=(2, 3))
    space = (weight[labels].abs() * background).sum(dim=1).mean()
    found = (
        channel_constraint(scores, maps, labels, marks),
        space_constraint(scores, maps, labels, foreground),
    )
    for term, expected in zip(found, (channel, space), strict=True):
        torch.testing.assert_close(term, expected)
        names, parameters = zip(*model.named_parameters(), strict=True)
        gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        trained = [name for name, value in zip(names, gradients, strict=True) if value is not None and value.any()]
        assert trained == ["classifier.weight"]
        (by_hand,) = torch.autograd.grad(expected, weight, retain_graph=True)
        torch.testing.assert_close(gradients[names.index("classifier.weight")], by_hand)


def test_the_size_of_the_batch_does_not_matter():
    model = Small().eval()
    images, labels, foreground = labelled(8)
    constraints = Constraints("features.3", relevant())

    def terms(which):
        scores, maps = seen(model, images[which])
        return torch.stack([*constraints.penalties(scores, maps, labels[which], foreground[which]).values()])

    torch.testing.assert_close(terms(slice(None)), torch.stack([terms(slice(n, n + 1)) for n in range(8)]).mean(dim=0))


def test_a_batch_norm_in_training_mode_mixes_images_and_one_in_evaluation_mode_does_not():
    model = nn.Sequential(nn.Conv2d(2, CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.Tanh(), nn.Flatten())
    model.append(nn.Linear(CHANNELS * 16, CLASSES))
    images, _, _ = labelled(6)

    def term(count):
        scores, maps = seen(model, images[:count], "0")
        (gradient,) = torch.autograd.grad(scores[0].sum(), maps)
        return gradient[1:].any().item()

    assert term(6)
    model[1].eval()
    assert not term(6)


@pytest.mark.parametrize(("first", "space", "takes"), [("label", 1.0, 2), ("label", 0.0, 2), ("predicted", 1.0, 3)])
def test_no_gradient_is_taken_twice(monkeypatch, first, space, takes):
    images, labels, foreground = labelled(6)
    scores, maps = seen(Small().eval(), images)
    grad, calls = torch.autograd.grad, []

    def counted(*args, **kwargs):
        calls.append(args[1] is maps)
        return grad(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    Constraints("features.3", relevant(), first=first, space=space).penalties(scores, maps, labels, foreground)
    assert calls == [True] * takes


def test_probability_instead_of_logit():
    images, labels, foreground = labelled(6)
    scores, maps = seen(Small().eval(), images)
    found = Constraints("features.3", relevant(), score="probability").penalties(scores, maps, labels, foreground)
    torch.testing.assert_close(found["channel"], channel_constraint(scores.softmax(1), maps, labels, relevant()))
    torch.testing.assert_close(found["space"], space_constraint(scores.softmax(1), maps, labels, foreground))


def test_images_without_annotation_have_no_background():
    images, labels, _ = labelled(6)
    scores, maps = seen(Small().eval(), images)
    assert space_constraint(scores, maps, labels, torch.ones(6, 6, 6)) == 0
    assert Constraints("features.3").penalties(scores, maps, labels)["space"] == 0


def test_constraints_of_a_diagnosis():
    settings = {"reduce": "relu", "multiply_by_inputs": True, "score": "probability", "seed": 4}
    diagnosis = SimpleNamespace(layer="features.3", settings=settings, relevant=lambda v: drawn(2, 4) > v)
    found = Constraints.of(diagnosis, 0.7, space=0.5, score="logit")
    assert (found.layer, found.reduce, found.multiply_by_inputs, found.score) == ("features.3", "relu", True, "logit")
    assert found.strengths == {"channel": 1.0, "space": 0.5}
    assert torch.equal(found.relevant, drawn(2, 4) > 0.7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channel": -1.0}, "strength `channel` to be a number from 0 on, got -1.0"),
        ({"space": float("nan")}, "strength `space` to be a number from 0 on, got nan"),
        ({"first": "second"}, "`first` to be 'label' or 'predicted', got 'second'"),
        ({"second": "none"}, "`second` to be 'masked' or 'all', got 'none'"),
        ({"reduce": "square"}, "`reduce` to be 'abs' or 'relu', got 'square'"),
        ({"score": "loss"}, "`score` to be 'logit' or 'probability', got 'loss'"),
        ({"space": 0.0}, r"`relevant` \(classes, channels\) for the channel constraint, got None"),
        ({"relevant": torch.ones(3, 5)}, r"a tensor of bool, got torch.float32 of shape \(3, 5\)"),
    ],
)
def test_constraints_that_are_none(options, said):
    with pytest.raises(InputError, match=said):
        Constraints("features.3", **options)


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (torch.ones(3, 4, dtype=torch.bool), r"of shape \(3, 5\), got \(3, 4\)"),
        (torch.ones(5, 3, dtype=torch.bool), r"of shape \(3, 5\), got \(5, 3\)"),
        (torch.ones(3, 5), "a tensor of bool, got torch.float32"),
        (torch.ones(5, dtype=torch.bool), r"a tensor of bool, got torch.bool of shape \(5,\)"),
        ([[True]], r"a tensor of bool, got \[\[True\]\]"),
    ],
)
def test_relevant_channels_that_do_not_fit(marks, said):
    images, labels, _ = labelled(6)
    with pytest.raises(InputError, match=said):
        channel_constraint(*seen(Small(), images), labels, marks)


@pytest.mark.parametrize(
    ("foreground", "said"),
    [
        (torch.ones(5, 6, 6), r"for each of 6 images, got shape \(5, 6, 6\)"),
        (torch.ones(6, 1, 6, 6), r"got shape \(6, 1, 6, 6\)"),
        (torch.full((6, 6, 6), 255), r"in \[0, 1\], got values from 255 to 255"),
        (torch.full((6, 6, 6), torch.nan), r"in \[0, 1\], got values from nan to nan"),
    ],
)
def test_masks_that_do_not_fit(foreground, said):
    images, labels, _ = labelled(6)
    with pytest.raises(InputError, match=said):
        space_constraint(*seen(Small(), images), labels, foreground)


def test_scores_and_labels_that_do_not_fit():
    images, labels, foreground = labelled(6)
    model = Small()
    scores, maps = seen(model, images)
    with pytest.raises(TargetError, match="a class from 0 to 2, got 3 for example 1"):
        space_constraint(scores, maps, torch.tensor([0, 3, 0, 0, 0, 0]), foreground)
    with pytest.raises(TargetError, match="one class per example"):
        space_constraint(scores, maps, labels[:5], foreground)
    with pytest.raises(InputError, match=r"got \(6, 3\) and \(6, 5\)"):
        space_constraint(scores, maps.mean(dim=(2, 3)), labels, foreground)
    with pytest.raises(InputError, match="got scores that are not"):
        space_constraint(scores.detach(), maps, labels, foreground)
    with pytest.raises(LayerError, match="depend on `maps`, got ones that do not"):
        space_constraint(model(images), maps, labels, foreground)
