"""Reports of POT saliency: scores, p-values, and the check of them."""

from dataclasses import replace
from math import log

import pytest
import torch
from report.explain.small_jobs import tiny_explanation, tiny_images, tiny_net
from report.pages import Page

from captum_paramsal.attr import POTSaliency
from captum_paramsal.errors import InputError
from captum_paramsal.reference import Reference
from captum_paramsal.report import ExplainSettings, Explanation, explain
from captum_paramsal.report.explain.page import explain_page

IMAGES = 480


def _reference(count=IMAGES, seed=2, **options):
    batch = next(tiny_images(count, seed).batches(count))
    return Reference.fit(tiny_net(), [(batch.inputs, batch.labels)], show_progress=False, **options)


def _explained(images=None, **options):
    return tiny_explanation.__wrapped__(
        **{"images": images or tiny_images(IMAGES), "method": "pot", "batch_size": 64, "traces": False, **options}
    )


@pytest.fixture(scope="module")
def reference():
    return _reference()


@pytest.fixture(scope="module")
def found(reference):
    return _explained(reference=reference, cards=3)


@pytest.fixture(scope="module")
def page(found):
    return Page(explain_page(found))


@pytest.fixture(scope="module")
def crossed():
    return _explained(cards=1)


def _batch():
    return next(tiny_images(IMAGES).batches(IMAGES))


def _saliency(reference, fit="mle"):
    return POTSaliency(tiny_net(), reference, fit=fit)


@pytest.mark.parametrize("fit", ["mle", "exponential"])
def test_filters_scores_and_p_values_are_those_of_the_method(reference, fit):
    found, batch, saliency = _explained(reference=reference, fit=fit, pixels=False), _batch(), _saliency(reference, fit)
    scores = saliency.attribute(batch.inputs, target=batch.labels)
    p_values = saliency.p_values(batch.inputs, target=batch.labels)
    significant = saliency.significant(batch.inputs, target=batch.labels).sum(dim=1)
    assert len(found.mistakes) == IMAGES // 4
    assert found.context["method"] == {"name": "pot", "unit": "nats", "fit": fit, "false_discovery_rate": 0.05}
    for mistake in found.mistakes:
        best = scores[mistake.position].sort(descending=True, stable=True)
        named = int((best.values[:4] > 0).sum())
        assert [found.filters.index(ranked.filter) for ranked in mistake.filters] == best.indices[:named].tolist()
        assert [ranked.score for ranked in mistake.filters] == pytest.approx(best.values[:named].tolist(), rel=1e-3)
        expected = p_values[mistake.position, best.indices[:named]]
        assert [ranked.p_value for ranked in mistake.filters] == pytest.approx(expected.tolist(), rel=1e-2)
        assert mistake.unusual == int(significant[mistake.position])


def test_a_filter_is_never_blamed_for_a_score_of_zero(found):
    assert all(ranked.score > 0 for mistake in found.mistakes for ranked in mistake.filters)
    assert any(len(mistake.filters) < 4 for mistake in found.mistakes), "too easy: every mistake has four in the tails"


def test_calibration_counts_all_images_in_their_proportion(found, reference):
    batch, saliency = _batch(), _saliency(reference)
    p_values = saliency.p_values(batch.inputs, target=batch.labels)
    with torch.no_grad():
        right = tiny_net()(batch.inputs).argmax(dim=1) == batch.labels
    compared = right.nonzero()[:, 0][torch.arange(256) * int(right.sum()) // 256]
    check = found.calibration
    assert (check.held_out, check.reference_images) == ("given", IMAGES)
    assert (check.correct.images, check.mistakes.images, check.overall.images) == (256, IMAGES // 4, 256 + IMAGES // 4)
    for level, share, correct, mistakes in zip(
        check.levels, check.overall.share, check.correct.share, check.mistakes.share, strict=True
    ):
        assert correct == pytest.approx(float((p_values[compared] <= level).double().mean()), abs=1e-4)
        assert mistakes == pytest.approx(float((p_values[~right] <= level).double().mean()), abs=1e-4)
        assert share == pytest.approx(0.75 * correct + 0.25 * mistakes, rel=1e-3, abs=1e-9)


def test_p_values_of_the_same_kind_of_images_are_calibrated(found):
    check = found.calibration
    for level, share, error in zip(check.levels, check.overall.share, check.overall.error, strict=True):
        if level >= 0.01:
            assert abs(share - level) < 4 * error


def test_tails_are_summed_up(found, reference):
    tails = _saliency(reference).tails
    assert (found.tails.fit, found.tails.fraction, found.tails.images) == ("mle", 0.1, IMAGES)
    assert (found.tails.dead, found.tails.few, found.tails.tested) == (0, 0, 14)
    assert found.tails.excesses == 47
    assert found.tails.misfits == int((tails.goodness_of_fit < 0.05).sum())
    often = sorted(found.mistake_group.appearances.items(), key=lambda entry: (-entry[1], entry[0]))[:3]
    for (column, _), example in zip(often, found.tails.examples, strict=True):
        assert example.filter == found.filters[column]
        assert (example.shape, example.scale) == (float(tails.pareto.shape[column]), float(tails.pareto.scale[column]))
        kept = reference.tail.excesses[column]
        torch.testing.assert_close(torch.tensor(example.excesses).double(), kept[kept > 0], rtol=1e-4, atol=0)


def test_without_a_reference_each_half_is_checked_by_the_other(crossed):
    batch = _batch()
    check = crossed.calibration
    assert (check.held_out, check.reference_images) == ("halves", IMAGES // 2)
    assert crossed.context["reference"]["fitted_on_these_images"]
    p_values = torch.zeros(IMAGES, 14, dtype=torch.float64)
    for half in range(2):
        inputs, labels = batch.inputs[half::2], batch.labels[half::2]
        other = Reference.fit(tiny_net(), [(inputs, labels)], show_progress=False)
        judged = slice(1 - half, None, 2)
        p_values[judged] = _saliency(other).p_values(batch.inputs[judged], target=batch.labels[judged])
    wrong = p_values[[mistake.position for mistake in crossed.mistakes]]
    expected = [float((wrong <= level).double().mean()) for level in check.levels]
    assert check.mistakes.share == pytest.approx(expected, abs=2e-3)


def test_the_halves_together_are_the_reference_of_all(crossed):
    batch = _batch()
    whole = Reference.fit(tiny_net(), [(batch.inputs, batch.labels)], show_progress=False)
    scores = _saliency(whole).attribute(batch.inputs, target=batch.labels)
    for mistake in crossed.mistakes:
        expected = scores[mistake.position].sort(descending=True).values[: len(mistake.filters)]
        assert [ranked.score for ranked in mistake.filters] == pytest.approx(expected.tolist(), rel=1e-3)


@pytest.mark.usefixtures("undrawn")
def test_nothing_is_held_out_where_halves_are_too_small():
    found = _explained(tiny_images(250), cards=1, pixels=False)
    assert (found.calibration.held_out, found.calibration.reference_images) == ("same", 250)
    assert "Nothing is held out here:" in Page(explain_page(found)).text


def test_as_many_images_as_tails_need():
    with pytest.raises(InputError, match="at least 201 images to fit the tails of the filters on, got 200"):
        _explained(tiny_images(200))
    assert _explained(tiny_images(201), cards=1, pixels=False).tails.excesses == 20


def test_a_reference_without_tails_is_refused_before_any_pass():
    images = tiny_images()
    images.batches = None
    with pytest.raises(InputError, match="upper tails"):
        explain(tiny_net(), images, _reference(tail=None), settings=ExplainSettings(method="pot", show_progress=False))


@pytest.mark.usefixtures("undrawn")
def test_a_filter_without_a_tail_is_told_and_never_named(reference):
    values = reference.tail.values.clone()
    values[5] = values[5, 0]
    found = _explained(reference=replace(reference, tail=replace(reference.tail, values=values)), cards=1, pixels=False)
    assert found.dead == (5,)
    assert (found.tails.dead, found.tails.tested) == (1, 13)
    assert all(ranked.filter != found.filters[5] for mistake in found.mistakes for ranked in mistake.filters)
    assert "1 filter has no tail at all and is never ranked first." in Page(explain_page(found)).text


@pytest.mark.usefixtures("undrawn")
def test_saved_and_loaded(found, tmp_path):
    assert Explanation.load(found.write(tmp_path).parent) == found
    assert Explanation.from_dict(found.to_dict()) == found


def test_page_speaks_of_nats_and_never_of_deviations(page):
    assert "score (nats)" in page.text
    assert "standard deviations" not in page.text
    assert "of 14 filters significant" in page.text
    assert "above 3" not in page.text
    assert "POT saliency: Wang and Sato" in page.text


def test_page_has_p_values_beside_the_filters(page, found):
    bars = [attributes for tag, attributes in page.elements if tag == "span" and attributes.get("class") == "chance"]
    assert len(bars) == sum(len(mistake.filters) for mistake in found.mistakes if mistake.curve)


def test_page_checks_the_p_values(page, found):
    assert "The tails come from the reference that was given; this check holds if none of these images" in page.text
    at = found.calibration.levels.index(0.01)
    assert f"{100 * found.calibration.overall.share[at]:.1f}".rstrip("0").rstrip(".") in page.text
    assert "0.001 is rarer than one image of the reference" in page.text
    assert "A p-value of 0.01 is rarer" not in page.text
    assert page.text.count("misfit p") == 3


def test_page_with_several_figures_has_unique_ids(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {value for _, attributes in page.elements if (value := attributes.get("xlink:href"))}
    assert {link.removeprefix("#") for link in links if not link.startswith("data:")} <= set(ids)
    clips = {attributes["clip-path"] for _, attributes in page.elements if "clip-path" in attributes}
    assert clips
    assert {clip.removeprefix("url(#").removesuffix(")") for clip in clips} <= set(ids)


@pytest.mark.usefixtures("undrawn")
def test_a_mistake_without_any_filter_above_its_threshold(found):
    first = replace(found.mistakes[0], filters=(), unusual=0, curve=(0.0,) * len(found.places))
    page = Page(explain_page(replace(found, mistakes=(first,), maps={})))
    assert "None: no filter is above its threshold." in page.text
    assert f"{log(14 / 0.05):.1f}" > "5"


@pytest.mark.usefixtures("undrawn")
def test_scores_beyond_the_end_of_a_tail_are_no_numbers_to_read(found):
    drawn = next(mistake for mistake in found.mistakes if mistake.curve and mistake.filters)
    beyond = replace(drawn.filters[0], score=746.2, p_value=0.0)
    changed = replace(drawn, filters=(beyond, *drawn.filters[1:]))
    page = Page(explain_page(replace(found, mistakes=(changed,), neighbors={})))
    assert "p 0 beyond" in page.text
    assert "746" not in page.text
