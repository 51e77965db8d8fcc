"""What figures are made of, against the same by hand."""

from dataclasses import replace

import pytest
import torch
from reproduce.small_figures import QUICK, images, model
from torch import nn

from captum_paramsal.errors import ModelError
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.reference.pieces import Pieces
from captum_paramsal.repair import knock_out_curve, mask_pixels
from captum_paramsal.reproduce.curves import curve, ranking
from captum_paramsal.reproduce.maps import CAM, OURS, cascade_figure, maps_at
from captum_paramsal.reproduce.neighbours import class_errors, features_figure, neighbors_figure, penultimate
from captum_paramsal.reproduce.regions import covered_figure, pasted_figure
from captum_paramsal.reproduce.steps import TRIED, _others
from captum_paramsal.reproduce.subject import open_subject


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return open_subject(
        model(),
        images(),
        None,
        settings=QUICK,
        classes={0: "cat"},
        pieces=Pieces(tmp_path_factory.mktemp("pieces"), {}, ProcessGroup()),
        device=torch.device("cpu"),
    )


def test_mistakes_and_correct_images_are_of_the_other_half(subject):
    labels = torch.tensor([item.label for item in images().items])
    wrong = subject.predicted != labels[1::2]
    assert subject.positions.tolist() == list(range(1, 48, 2))
    assert subject.mistakes == [2 * place + 1 for place in wrong.nonzero()[:, 0].tolist()]
    assert sorted(subject.mistakes + subject.correct) == subject.positions.tolist()
    assert len(subject.compared) == len(subject.mistakes) == 8
    assert {*subject.chosen} < {*subject.mistakes}
    assert subject.reference.count == 24


def test_early_deep_and_last_layers(subject):
    assert subject.early == list(range(6))
    assert subject.deep == list(range(6, 22))
    assert subject.last == list(range(14, 22))


def test_a_curve_in_pieces_is_that_of_all_at_once(subject):
    made = curve(subject, "knocked out", knock_out_curve, "most salient", 4)
    inputs, labels = subject.read(subject.chosen)
    scores = subject.saliency.attribute(inputs, target=labels)
    whole = knock_out_curve(subject.model, inputs, labels, scores, subject.filters, k=4, show_progress=False)
    assert torch.equal(made.corrected, whole.corrected)
    for name in ("wrong", "true"):
        torch.testing.assert_close(getattr(made, name), getattr(whole, name), rtol=1e-5, atol=1e-7)
    assert made.broken.isfinite().all()


def test_rankings(subject):
    every = subject.chosen
    ordered = {arm: ranking(subject, arm, every) for arm in ("most salient", "least salient", "random", "last stage")}
    for arm, scores in ordered.items():
        # Whatever the cut into pieces.
        assert torch.equal(ranking(subject, arm, every[2:3]), scores[2:3]), arm
    assert torch.equal(ordered["least salient"], -ordered["most salient"])
    assert len(ordered["random"].argsort(dim=1).unique(dim=0)) == len(every)
    assert ordered["last stage"].topk(8, dim=1).indices.sort(dim=1).values.tolist() == [subject.last] * len(every)


def test_penultimate_features_and_class_errors(subject):
    inputs, labels = subject.read(subject.mistakes)
    with torch.no_grad():
        expected = subject.model[:-1](inputs)
        errors = subject.model(inputs).softmax(dim=1)
    torch.testing.assert_close(penultimate(subject), expected)
    errors[range(len(labels)), labels] -= 1
    torch.testing.assert_close(class_errors(subject), errors.abs())


class Twice(nn.Module):
    """Runs its last layer two times."""

    def __init__(self):
        super().__init__()
        self.network = model()

    def forward(self, pixels):
        return self.network(pixels) + 0 * self.network[-1](torch.ones(1, 8))


def test_a_network_whose_last_layer_runs_twice_has_no_penultimate_features(subject):
    with pytest.raises(ModelError, match=r"'network\.8', to run once for each image, got 9 rows for 8 images"):
        penultimate(replace(subject, model=Twice(), pieces=subject.pieces.depending_on(twice=True)))


@pytest.mark.usefixtures("undrawn")
def test_shares_of_neighbours_by_hand(subject):
    rows = {(row["space"], row["shared"]): row for row in neighbors_figure(subject).tables[""]}
    scores = subject.scores(subject.raw_mistakes).double()[:, subject.deep]
    places = subject.rows(subject.mistakes)
    labels, predicted = subject.labels[places].tolist(), subject.predicted[places].tolist()
    near, anyone = [], []
    for number in range(len(labels)):
        others = [other for other in range(len(labels)) if other != number]
        angle = torch.cosine_similarity(scores[number][None], scores)
        closest = sorted(others, key=lambda other: -angle[other].item())[: QUICK.neighbors]
        for group, kept in ((closest, near), (others, anyone)):
            kept.append(sum(predicted[other] == predicted[number] for other in group) / len(group))
    row = rows["deep layers", "predicted class"]
    assert row["near"] == pytest.approx(sum(near) / len(near))
    assert row["any other"] == pytest.approx(sum(anyone) / len(anyone))
    assert row["lift"] == pytest.approx(row["near"] - row["any other"])


@pytest.mark.usefixtures("undrawn")
def test_neighbours_in_both_are_all_where_both_are_alike(subject, monkeypatch):
    monkeypatch.setattr(
        "captum_paramsal.reproduce.neighbours.penultimate", lambda given: given.scores(given.raw_mistakes)
    )
    (row,) = features_figure(subject).tables["in_both"]
    assert (row["in both"], row["by chance"]) == (1.0, pytest.approx(2 / 7))


def test_no_mistake_is_among_its_others(subject):
    near = _others(subject)
    own = torch.arange(len(subject.mistakes))[:, None]
    width = min(TRIED, QUICK.neighbors)
    for name, others in near.items():
        assert others.shape == (8, width), name
        assert not (others == own).any(), name
        assert others.min() >= 0
        assert others.max() < 8
        assert all(len({*row}) == width for row in others.tolist()), name


@pytest.mark.usefixtures("undrawn")
def test_a_cascade_has_no_more_stages_than_layers(subject):
    drawn = cascade_figure(replace(subject, settings=replace(QUICK, stages=9, mistakes=2)))
    assert {row["random layers"] for row in drawn.tables[""]} == {1, 2, 3, 4}
    assert {row["up to"] for row in drawn.tables[""]} == {"8", "4", "2", "0"}
    assert drawn.tables["another_image"][0]["images"] == 2


@pytest.mark.usefixtures("undrawn")
def test_salient_pixels_covered_and_pasted(subject):
    drawn = covered_figure(subject)
    rows = {(row["pixels"], row["cover"]): row for row in drawn.tables[""]}
    assert {*drawn.pictures} <= {"gained", "lost"}
    assert drawn.pictures
    inputs, labels = subject.read(subject.chosen)
    maps = maps_at(subject, subject.chosen)[OURS]
    covered = mask_pixels(subject.model, inputs, labels, maps, fill="blur")
    assert rows["most salient", "blur"]["corrected"] == covered.corrected[:, 1].double().mean().item()
    change = (covered.true[:, 1] - covered.true[:, 0]).mean().item()
    assert rows["most salient", "blur"]["change of true class"] == pytest.approx(change)
    assert rows["random", "mean colour"]["corrected, minus random"] == 0
    pasted = pasted_figure(subject).tables[""]
    assert [(row["measure"], row["pixels"]) for row in pasted[:3]] == [
        ("turned", "region"), ("turned", "random"), ("turned", "difference"),
    ]  # fmt: skip
    assert {row["map"] for row in pasted} == {OURS, CAM}
