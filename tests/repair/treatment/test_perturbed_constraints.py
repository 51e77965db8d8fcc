"""Constraints over perturbed copies, and on several layers, against a program that takes one at a time."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from repair.small_models import CLASSES, Linearised, Small, batches, labelled, relevant, same, state
from torch import nn
from torch.nn.functional import cross_entropy

from captum_paramsal import ModelDoctor
from captum_paramsal.errors import CheckpointError, InputError
from captum_paramsal.functional import disturbances
from captum_paramsal.hooks import feature_maps, replaced_maps
from captum_paramsal.repair import Constraints, channel_constraint, space_constraint, treat
from captum_paramsal.repair.treatment.constrained_layers import ConstrainedLayers
from captum_paramsal.repair.treatment.strengths import loss_terms
from captum_paramsal.repair.treatment.training_items import TrainingItem

NOISE = {"noise_samples": 2, "noise_range": 0.4, "seed": 5}
PAPER = {"first": "predicted", "second": "all", "rival": "runner-up"}
OPTIONS = {"epochs": 2, "learning_rate": 0.1, "show_progress": False}


def one_copy(model, image, layer, noise):
    """Scores of one image with its map perturbed, and that map; the whole network, once."""
    perturbed = []

    def disturbed(clean):
        perturbed.append(clean + noise)
        return perturbed[0].clone()

    with replaced_maps(model, layer, disturbed):
        scores = model(image[None])[0]
    return scores, perturbed[0]


def twin(model, layer, sample, options):
    """Both penalties of one image: classes from the clean pass, gradients averaged copy by copy, then summed up."""
    image, label, foreground = sample
    clean = model(image[None])[0].tolist()
    order = sorted(range(CLASSES), key=lambda n: -clean[n])
    wrong = next(n for n in order if n != label)
    first = label if options.get("first") != "predicted" else order[0]
    rival = wrong if options.get("rival") != "runner-up" else order[1]
    shape = one_copy(model, image, layer, 0.0)[1].shape[1:]
    noise = disturbances(options["noise_samples"], shape, options["noise_range"], seed=options["seed"]).double()

    @cache
    def averaged(n):
        total = torch.zeros(shape, dtype=torch.float64)
        for each in noise:
            scores, perturbed = one_copy(model, image, layer, each)
            (gradient,) = torch.autograd.grad(scores[n], perturbed, create_graph=True)
            total = total + gradient[0].abs()
        return total / len(noise)

    marks, channel, space = relevant(), torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for k in range(shape[0]):
        if layer == "features.3":
            channel = channel + (0 if marks[first, k] else averaged(first)[k].sum())
            channel = channel + (averaged(rival)[k].sum() if options.get("second") == "all" or marks[rival, k] else 0)
        space = space + ((1 - foreground) * averaged(label)[k]).sum()
    return channel, space


@pytest.mark.parametrize("options", [NOISE, NOISE | PAPER])
def test_the_loss_and_its_gradient_equal_the_twin(options):
    """Cross entropy, the channel constraint on one layer and the space constraint on two, in double precision."""
    model = Linearised().double().eval()
    images, labels, foreground = labelled(3, size=4)
    images, foreground = 3 * images.double(), foreground.double()
    asked = (
        Constraints("features.3", relevant(), **options),
        Constraints("features.0", space=1.0, **options),
    )
    constrained, batch = ConstrainedLayers(asked), TrainingItem(images, labels, foreground)
    with constrained.watched(model):
        terms = loss_terms(model, batch, constrained)
    assert list(terms) == ["loss", "channel features.3", "space features.3", "space features.0"]
    samples = list(zip(images, labels.tolist(), foreground, strict=True))
    last = [twin(model, "features.3", sample, options) for sample in samples]
    earlier = [twin(model, "features.0", sample, options) for sample in samples]
    expected = {
        "loss": cross_entropy(model(images), labels),
        "channel features.3": torch.stack([channel for channel, _ in last]).mean(),
        "space features.3": torch.stack([space for _, space in last]).mean(),
        "space features.0": torch.stack([space for _, space in earlier]).mean(),
    }
    parameters = list(model.parameters())
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name])
        pair = [
            torch.autograd.grad(t, parameters, retain_graph=True, allow_unused=True) for t in (term, expected[name])
        ]
        assert any(gradient is not None and gradient.any() for gradient in pair[0])
        for gradient, by_twin in zip(*pair, strict=True):
            if gradient is None or by_twin is None:
                assert gradient is None or not gradient.any()
                assert by_twin is None or not by_twin.any()
            else:
                torch.testing.assert_close(gradient, by_twin)


def test_the_runner_up_is_the_label_of_an_image_mistaken_by_little():
    maps = torch.ones(2, 3, 1, 1, requires_grad=True)
    weight = torch.tensor([[1.0, 2.0, 5.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    scores = maps.mean(dim=(2, 3)) @ weight  # 1, 2, 5: class 2 is predicted, class 1 comes second
    none = torch.zeros(3, 3, dtype=torch.bool)
    options = {"second": "all"}
    labels = torch.tensor([1, 2])
    assert channel_constraint(scores, maps, labels, none, **options) == (5 + 2) / 2
    assert channel_constraint(scores, maps, labels, none, rival="runner-up", **options) == (2 + 2) / 2


def test_what_is_constrained_is_the_evidence_that_is_diagnosed():
    model = Linearised().eval()
    images, labels, _ = labelled(5, size=4)
    evidence = ModelDoctor(model, "features.3", **NOISE).attribute(images, target=labels)
    constrained = ConstrainedLayers([Constraints("features.3", **NOISE)])
    batch = TrainingItem(images, labels, torch.zeros(5, 4, 4))
    with constrained.watched(model):
        terms = loss_terms(model, batch, constrained)
    torch.testing.assert_close(terms["space"], evidence.sum(dim=(1, 2, 3)).mean())


def test_copies_by_hand_are_those_of_a_treatment():
    model = Linearised().eval()
    images, labels, foreground = labelled(4, size=4)
    with feature_maps(model, "features.3") as maps:
        scores, clean = model(images), maps.latest
    copies = []
    for noise in disturbances(2, clean.shape[1:], 0.4, seed=5):
        perturbed = clean + noise
        with replaced_maps(model, "features.3", lambda _, given=perturbed: given.clone()):
            copies.append((model(images), perturbed))
    constrained = ConstrainedLayers([Constraints("features.3", relevant(), **NOISE)])
    batch = TrainingItem(images, labels, foreground)
    with constrained.watched(model):
        terms = loss_terms(model, batch, constrained)
    torch.testing.assert_close(terms["channel"], channel_constraint(scores, clean, labels, relevant(), copies=copies))
    torch.testing.assert_close(terms["space"], space_constraint(scores, clean, labels, foreground, copies=copies))
    with pytest.raises(InputError, match=r"`copies` with scores \(4, 3\) .* got \(3, 3\) .* for copy 0"):
        space_constraint(scores, clean, labels, foreground, copies=[(scores[:3], clean)])
    with pytest.raises(InputError, match="got scores that are not"):
        space_constraint(scores, clean, labels, foreground, copies=[(scores.detach(), clean)])


class Interrupted:
    """Batches that end in the second epoch; before it they are measured, and gone through once."""

    def __init__(self):
        self.times = 0

    def __len__(self):
        return 1

    def __iter__(self):
        self.times += 1
        for batch in batches(count=6, size=6):
            yield batch
            if self.times == 3:
                raise KeyboardInterrupt


def paper_settings(**options):
    settings = {"reduce": "abs", "multiply_by_inputs": False, "score": "logit", "noise": "uniform"} | NOISE
    diagnosis = SimpleNamespace(layer="features.3", settings=settings, relevant=lambda _: relevant())
    return Constraints.of_paper(diagnosis, ("features.0", "features.3"), **options)


def test_constraints_of_the_paper():
    last, earlier = paper_settings()
    assert (last.layer, last.strengths) == ("features.3", {"channel": 1.0, "space": 1.0})
    assert (earlier.layer, earlier.strengths) == ("features.0", {"space": 1.0})
    for each in (last, earlier):
        assert (each.first, each.second, each.rival) == ("predicted", "all", "runner-up")
        assert (each.noise_samples, each.noise_range, each.seed) == (2, 0.4, 5)
    assert [each.layer for each in paper_settings(channel=0.0)] == ["features.3", "features.0"]
    assert [each.layer for each in paper_settings(space=0.0)] == ["features.3"]


def test_a_treatment_resumes_with_the_same_bits(tmp_path):
    """Batch norms in training mode count the passes on images alone, not those on perturbed copies."""
    options = OPTIONS | {"freeze_batch_norm": False}
    whole = treat(Small(), batches(count=6, size=6), batches(count=6, size=6, seed=1), paper_settings(), **options)
    assert {"channel features.3", "space features.3", "space features.0"} == {*whole.weights}
    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        treat(Small(), Interrupted(), batches(count=6, size=6, seed=1), paper_settings(), checkpoint=path, **options)
    again = treat(
        Small(),
        batches(count=6, size=6),
        batches(count=6, size=6, seed=1),
        paper_settings(),
        checkpoint=path,
        **options,
    )
    assert same(state(again.model)[0], state(whole.model)[0])
    assert again.history == whole.history
    for others in (paper_settings(rival="wrong"), paper_settings(noise_range=0.3), paper_settings()[:1]):
        with pytest.raises(CheckpointError, match="constraints"):
            treat(
                Small(), batches(count=6, size=6), batches(count=6, size=6, seed=1), others, checkpoint=path, **options
            )


def test_passes_on_copies_leave_buffers_alone():
    model = Small().train()
    constrained = ConstrainedLayers(paper_settings())
    batch = TrainingItem(*labelled(6))
    constrained.settle(model, batch)
    before = dict(model.named_buffers())
    with constrained.watched(model):
        loss_terms(model, batch, constrained)
    assert all(buffer is before[name] for name, buffer in model.named_buffers())
    assert model.features[1].num_batches_tracked == 1


def test_tokens_are_perturbed_as_maps():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(2, 6, 2, 2)
            self.block = nn.Linear(6, 6)
            self.head = nn.Linear(6, CLASSES)

        def forward(self, images):
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            return self.head(torch.tanh(self.block(tokens)).square().mean(dim=1))

    torch.manual_seed(0)
    model = Tokens().eval()
    images, labels, _ = labelled(4)
    evidence = ModelDoctor(model, "block", **NOISE).attribute(images, target=labels)
    constrained = ConstrainedLayers([Constraints("block", **NOISE)])
    with constrained.watched(model):
        terms = loss_terms(model, TrainingItem(images, labels, torch.zeros(4, 6, 6)), constrained)
    assert evidence.shape == (4, 6, 3, 3)
    torch.testing.assert_close(terms["space"], evidence.sum(dim=(1, 2, 3)).mean())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Constraints("a", rival="label"), "`rival` to be 'wrong' or 'runner-up', got 'label'"),
        (lambda: Constraints("a", noise_samples=-1), "`noise_samples` and `noise_range` of at least 0, got -1 and 0.1"),
        (lambda: Constraints("a", noise="pink"), "`noise` to be 'uniform' or 'normal', got 'pink'"),
        (lambda: Constraints.of_attention("a", noise_samples=2), "`noise_samples` of 0 for shares of attention, got 2"),
        (lambda: ConstrainedLayers([Constraints("a")] * 2), "once for a layer, got the space .* 'a' twice"),
        (lambda: Constraints.of_paper(None, ("a", "a")), r"each once, got \('a', 'a'\)"),
        (lambda: treat(Small(), batches(), batches(), ["last"]), "a list of them or None, got 'last'"),
        (lambda: treat(Small(), batches(), batches(), relevant()), "Constraints, a list of them or None"),
    ],
)  # fmt: skip
def test_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
