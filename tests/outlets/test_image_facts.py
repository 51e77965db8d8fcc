"""What reports say of single images, in the form that all tools get."""

import pytest
import torch
from outlets.small_results import RESULTS, compared, explained, grouped

from captum_paramsal.errors import InputError
from captum_paramsal.outlets.image_facts import image_facts
from captum_paramsal.sources import LabelledTensors
from captum_paramsal.viz import display_map


@pytest.mark.parametrize("name", RESULTS)
def test_each_is_the_image_that_it_names(name):
    result, images = RESULTS[name]()
    facts = image_facts(result, images)
    assert facts
    for one in facts:
        assert images.items[one.position].name == one.name
        for values in one.maps.values():
            assert values.ndim == 2
            assert 0 <= float(values.min()) <= float(values.max()) <= 1


def test_an_explanation():
    result, images = explained()
    for one, mistake in zip(image_facts(result, images), result.mistakes, strict=True):
        assert (one.label, one.predicted) == (result.class_name(mistake.label), result.class_name(mistake.predicted))
        assert one.confidence == mistake.confidence
        assert one.numbers == {"label_confidence": mistake.label_confidence, "unusual_filters": mistake.unusual}
        assert [(f.name, f.score) for f in one.filters] == [(str(f.filter), f.score) for f in mistake.filters]
        assert torch.equal(one.maps["pixels"], display_map(result.pixel_gradients[mistake.position]))
        trace, box = one.traces["trace_true_class"], mistake.traces.label.box
        assert trace.label == one.label
        assert [12 * side for side in trace.box] == pytest.approx(list(box))
        points = result.trace_maps[mistake.position][0].points
        torch.testing.assert_close(12 * torch.tensor(trace.points).flip(1) - 0.5, torch.tensor(points).float())


def test_groups():
    result, images = grouped()
    facts = image_facts(result, images)
    assert [one.position for one in facts] == [*range(len(facts))][::-1]
    assert [one.group for one in facts[:3]] == ["group 0", "group 0", "group 1"]
    assert [f.name for f in facts[2].filters] == [str(one.filter) for one in result.triage.guilty(1)]
    assert (facts[-1].group, facts[-1].filters, facts[-1].numbers) == ("", (), {})


def test_maps_and_scores_of_a_comparison():
    result, images = compared()
    facts = image_facts(result, images)
    assert [len(one.maps) for one in facts].count(3) == 3
    kept = result.comparison.kept[0]
    shown = result.comparison.maps[0][1].float().clamp(min=0)
    torch.testing.assert_close(facts[kept].maps["grad_cam"], shown / shown.max())
    column = [one.name for one in result.comparison.columns].index("sparsity")
    assert facts[kept].numbers["saliency sparsity"] == float(result.comparison.scores[0, column, kept])


@pytest.mark.parametrize("name", RESULTS)
def test_other_images_are_refused(name):
    result, images = RESULTS[name]()
    count = len(images.items)
    renamed = LabelledTensors(images._images, [0] * count, names=[f"other {i}" for i in range(count)])
    with pytest.raises(InputError, match="the images that the report was made of"):
        image_facts(result, renamed)
    fewer = LabelledTensors(images._images[:1], [0], names=["one"])
    with pytest.raises(InputError, match="the images that the report was made of"):
        image_facts(result, fewer)


def test_images_of_one_name_are_refused_where_names_tell_them_apart():
    result, images = grouped()
    count = len(images.items)
    twice = LabelledTensors(images._images, [0] * count, names=[images.items[0].name] * count)
    with pytest.raises(InputError, match=r"no '|several that are called"):
        image_facts(result, twice)


def test_another_kind_of_report_is_refused():
    with pytest.raises(InputError, match=r"a report on single images, one of Explanation.*, got dict"):
        image_facts({}, explained()[1])
