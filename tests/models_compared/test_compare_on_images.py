from copy import deepcopy

import pytest
import torch
from torch import nn

from captum_paramsal import DiscernibleNeurons, ParameterSaliency, Reference
from captum_paramsal.errors import InputError
from captum_paramsal.models_compared import Answers, ImageDifferences, compare_models, compare_on_images


class Untraceable(nn.Module):
    def forward(self, x):
        return torch.fft.fft2(x).abs()


def checkpoints(between=None):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), between or nn.ReLU()]
    a = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 16, 3)).double()
    b = deepcopy(a)
    with torch.no_grad():
        for parameter in b.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        b[3].weight[2] *= -3
    return a.eval(), b.eval()


def labelled(a, b):
    """Images that only a gets right, that only b does, and that both do; the last one neither."""
    images = torch.randn(80, 3, 8, 8, dtype=torch.float64)
    said_a, said_b = (model(images).argmax(dim=1) for model in (a, b))
    labels = torch.where(torch.arange(80) % 2 == 0, said_a, said_b)
    labels[-1] = next(label for label in range(3) if label not in (said_a[-1], said_b[-1]))
    return images, labels


@pytest.fixture(scope="module")
def case():
    a, b = checkpoints()
    images, labels = labelled(a, b)
    return a, b, images, labels, compare_on_images(a, b, images, labels, limit=4, keep=2, internal_batch_size=5)


def test_groups_are_evenly_spread_images(case):
    a, b, images, labels, result = case
    answers = compare_models(a, b, images, labels, steps=1)
    for name in ("only_a", "only_b", "both"):
        members = getattr(answers, name)
        count = min(4, len(members))
        expected = [int(members[place * len(members) // count]) for place in range(count)]
        assert result.images[result.of_group(name)].tolist() == expected
    assert 79 not in result.images
    assert result.labels.equal(labels[result.images])
    again = compare_on_images(a, b, images, labels, answers=answers, limit=4, keep=2)
    assert str(again.to_table()) == str(result.to_table())


def test_neurons_are_those_of_both_traces(case):
    a, b, images, labels, result = case
    some = images[result.images]
    traces = [DiscernibleNeurons(model).trace(some, labels[result.images]) for model in (a, b)]
    assert result.layers == tuple(traces[0].layers)[1:]
    for place, name in enumerate(result.layers):
        for image in range(len(some)):
            first, second = (
                set(zip(*(getattr(trace.layers[name].of_image(image), part).tolist() for part in ("channel", "y", "x")),
                        strict=True))
                for trace in traces
            )  # fmt: skip
            either = len(first | second)
            share = len(first & second) / either if either else torch.nan
            assert result.overlap[image, place].tolist() == pytest.approx(share, nan_ok=True)
    for image, name in enumerate(result.parting):
        row = dict(zip(result.layers, result.overlap[image].tolist(), strict=True))
        assert name == next((layer for layer, share in row.items() if share == 0), "")
    counted = [row["part_there"] for row in result.layer_table()]
    assert sum(counted) == sum(name != "" for name in result.parting)


def test_saliency_is_measured_against_each_models_own_reference(case):
    a, b, images, labels, result = case
    rows = []
    for model, salience in zip((a, b), (result.salience_a, result.salience_b), strict=True):
        reference = Reference.fit(model, [(images, labels)], tail=None, show_progress=False)
        scores = ParameterSaliency(model, reference).attribute(images[result.images], labels[result.images])
        torch.testing.assert_close(salience, scores.float())
        rows.append(scores)
    correlation = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*rows, strict=True)]
    torch.testing.assert_close(result.similarity[:, 0], torch.stack(correlation).double(), rtol=1e-4, atol=1e-5)
    shift = result.shifts(1)[0]
    in_a, in_b = ((each - each.mean(dim=1, keepdim=True)) / each.std(dim=1, keepdim=True) for each in rows)
    differences = (in_b - in_a)[result.of_group("only_a")].mean(dim=0)
    control = (in_b - in_a)[result.of_group("both")].mean(dim=0)
    place = int((differences - control).abs().argmax())
    assert shift.filter == result.filters[place]
    assert (shift.difference, shift.control) == pytest.approx(
        (float(differences[place]), float(control[place])), abs=1e-4
    )
    assert shift.standing_b - shift.standing_a == pytest.approx(shift.difference, abs=1e-5)


def test_references_may_be_given(case):
    a, b, images, labels, result = case
    references = tuple(Reference.fit(model, [(images, labels)], tail=None, show_progress=False) for model in (a, b))
    given = compare_on_images(a, b, images, labels, references=references, limit=4, keep=2)
    torch.testing.assert_close(given.salience_a, result.salience_a)


def test_maps_are_kept_for_some(case):
    result = case[-1]
    assert result.trace_maps.shape == result.saliency_maps.shape == (2, len(result.kept), 8, 8)
    assert [int((result.group[result.kept] == group).sum()) for group in range(3)] == [2, 2, 2]
    assert result.similarity.isfinite().all(dim=0).any()
    assert not result.refused


def test_tables_have_the_control_and_the_difference_to_it(case):
    result = case[-1]
    rows = result.similarity_table()
    both = {row["measure"]: row["mean"] for row in rows if row["group"] == "both"}
    for row in rows:
        values = result.similarity[result.of_group(row["group"])]
        column = values[
            :, ["profile_correlation", "box_iou", "trace_correlation", "saliency_correlation"].index(row["measure"])
        ]
        assert row["mean"] == pytest.approx(float(column.nanmean()))
        if row["group"] != "both":
            assert row["difference"] == pytest.approx(row["mean"] - both[row["measure"]])
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]


def test_a_checkpoint_and_itself_agree_in_everything(case):
    a, _, images, labels, _ = case
    result = compare_on_images(a, a, images, labels, limit=4, keep=0)
    assert not len(result.of_group("only_a"))
    assert result.overlap.nan_to_num(1.0).eq(1).all()
    torch.testing.assert_close(result.similarity, torch.ones_like(result.similarity))
    assert set(result.parting) == {""}
    with pytest.raises(InputError, match="group 'only_a' and images that both get right, got 0 and 4"):
        result.shifts()


def test_what_cannot_be_traced_is_named_and_the_rest_is_there():
    a, b = checkpoints(Untraceable())
    images, labels = labelled(a, b)
    result = compare_on_images(a, b, images, labels, limit=2)
    assert "fft" in result.refused["traces"]
    assert (result.layers, result.overlap.shape[1], result.trace_maps.numel()) == ((), 0, 0)
    assert result.similarity[:, 1:3].isnan().all()
    assert result.similarity[:, [0, 3]].isfinite().all()
    assert set(result.parting) == {""}
    assert result.layer_table() == []
    assert "traces" in repr(result)


def test_it_is_saved_and_loaded(case, tmp_path):
    result = case[-1]
    result.save(tmp_path / "images.safetensors")
    loaded = ImageDifferences.load(tmp_path / "images.safetensors")
    assert str(loaded.to_table()) == str(result.to_table())
    assert str(loaded.layer_table()) == str(result.layer_table())
    assert (loaded.filters, loaded.layers) == (result.filters, result.layers)


def test_models_are_left_as_they_were(case):
    a, b = checkpoints()
    for model, fresh in zip(case[:2], (a, b), strict=True):
        assert all(x.equal(y) for x, y in zip(model.state_dict().values(), fresh.state_dict().values(), strict=True))
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": 0}, "`limit` to be a whole number of at least 1, got 0"),
        ({"keep": -1}, "`keep`"),
        ({"usual": 1.5}, "`usual`"),
        ({"references": ()}, "`references` of both checkpoints, one each, got 0"),
        ({"answers": Answers(*torch.zeros(3, 4).long())}, "of these 80 images, got those of 4"),
        ({"answers": Answers(*torch.full((3, 80), 7))}, "with other labels"),
    ],
)
def test_bad_settings(case, change, message):
    with pytest.raises(InputError, match=message):
        compare_on_images(*case[:4], **change)


def test_where_neither_is_right_there_is_nothing_to_compare(case):
    a, b, images, labels, result = case
    with pytest.raises(InputError, match="1 that neither does"):
        compare_on_images(a, b, images[-1:], labels[-1:])
    with pytest.raises(InputError, match="'only_a', 'only_b', 'both', got 'all'"):
        result.of_group("all")
