import pytest
import torch
from report.explain.small_jobs import tiny_images, tiny_net, untraced_explanation as tiny_explanation
from torch import nn

from captum_paramsal.attr import ParameterSaliency
from captum_paramsal.errors import (
    InputError,
    LayerError,
    ParamsalError,
    ReferenceMismatchError,
    SourceError,
)
from captum_paramsal.report import ExplainSettings, explain, fit_reference
from captum_paramsal.report.explain.page import explain_page
from captum_paramsal.sources import LabelledTensors


def test_every_mistake_and_only_mistakes():
    images = tiny_images()
    found = tiny_explanation()
    assert [mistake.position for mistake in found.mistakes] == list(range(0, 24, 4))
    assert (found.images, found.accuracy) == (24, 0.75)
    with torch.no_grad():
        probabilities = tiny_net()(next(images.batches(24)).inputs).double().softmax(dim=1)
    for mistake in found.mistakes:
        row = probabilities[mistake.position]
        assert mistake.label == images.items[mistake.position].label
        assert mistake.predicted == int(row.argmax())
        assert mistake.confidence == pytest.approx(float(row.max()), rel=1e-5)
        assert mistake.label_confidence == pytest.approx(float(row[mistake.label]), rel=1e-5)
    assert found.mistakes[0].note == "in <the> dark"


def _scores(reference_images=None):
    model, images = tiny_net(), tiny_images()
    reference = fit_reference(model, images, reference_images, show_progress=False)
    batch = next(images.batches(24))
    return ParameterSaliency(model, reference).attribute(batch.inputs, target=batch.labels)


def test_filters_are_those_of_parameter_saliency_at_the_true_label():
    scores = _scores()
    found = tiny_explanation()
    for mistake in found.mistakes:
        expected = scores[mistake.position].sort(descending=True)
        columns = [found.filters.index(ranked.filter) for ranked in mistake.filters]
        assert columns == expected.indices[:4].tolist()
        torch.testing.assert_close(
            torch.tensor([ranked.score for ranked in mistake.filters]), expected.values[:4], rtol=1e-4, atol=1e-4
        )
        assert mistake.unusual == int((scores[mistake.position] > 3).sum())


def test_groups_have_proper_means():
    scores = _scores()
    found = tiny_explanation()
    wrong = torch.arange(0, 24, 4)
    right = torch.tensor([i for i in range(24) if i % 4])
    spread = right[torch.arange(6) * 18 // 6]
    assert (found.mistake_group.images, found.correct_group.images) == (6, 6)
    torch.testing.assert_close(torch.tensor(found.mistake_group.mean), scores[wrong].mean(0), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(torch.tensor(found.correct_group.mean), scores[spread].mean(0), rtol=1e-3, atol=1e-4)
    assert found.mistake_group.unusual == pytest.approx(float((scores[wrong] > 3).sum(1).float().mean()))
    assert sum(found.mistake_group.appearances.values()) == 6 * 4


def test_curves_follow_the_profiles():
    found = tiny_explanation()
    assert found.places == tuple(round((i + 0.5) / 6, 4) for i in range(6)) + tuple(
        round(1 + (i + 0.5) / 8, 4) for i in range(8)
    )
    for mistake in found.mistakes:
        assert max(mistake.curve) == pytest.approx(mistake.filters[0].score, abs=0.006)


def test_batch_size_changes_nothing():
    one, all_at_once = tiny_explanation(batch_size=1), tiny_explanation(batch_size=24)
    for a, b in zip(one.mistakes, all_at_once.mistakes, strict=True):
        assert [r.filter for r in a.filters] == [r.filter for r in b.filters]
        assert [r.score for r in a.filters] == pytest.approx([r.score for r in b.filters], rel=1e-3)


def test_a_given_reference_is_used_and_named():
    model, images = tiny_net(), tiny_images()
    reference = fit_reference(model, images, list(range(12)), show_progress=False)
    found = explain(model, images, reference, settings=ExplainSettings(top_k=2, traces=False, show_progress=False))
    assert found.context["reference"]["images"] == 12
    assert not found.context["reference"]["fitted_on_these_images"]
    assert tiny_explanation().context["reference"]["fitted_on_these_images"]
    expected = _scores(list(range(12)))[0].max()
    assert found.mistakes[0].filters[0].score == pytest.approx(float(expected), rel=1e-3)


def test_layers_can_be_chosen():
    found = tiny_explanation(layers=("2",))
    assert found.filters.layers == ("2",)
    assert found.context["parameters"]["layers"] == ["2"]


def test_cards_go_to_the_surest_mistakes():
    found = tiny_explanation(cards=2)
    drawn = [mistake for mistake in found.mistakes if mistake.curve]
    surest = sorted(found.mistakes, key=lambda mistake: -mistake.confidence)[:2]
    assert {mistake.position for mistake in drawn} == {mistake.position for mistake in surest}
    assert set(found.pictures) == {mistake.position for mistake in drawn}


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(_context, x):
        return x.clone()

    @staticmethod
    def backward(_context, gradient):
        if gradient.requires_grad:
            message = "no second derivative here"
            raise RuntimeError(message)
        return gradient.clone()


class _DifferentiableOnce(nn.Module):
    def forward(self, x):
        return _Once.apply(x)


def test_a_model_that_cannot_be_differentiated_twice_has_no_pixel_maps():
    model, images = tiny_net(), tiny_images()
    model.insert(1, _DifferentiableOnce())
    with pytest.raises(ParamsalError, match="differentiated twice, for pixel maps; leave them out, got: no second"):
        explain(model, images, settings=ExplainSettings(top_k=2, traces=False, show_progress=False))
    assert (
        explain(model, images, settings=ExplainSettings(top_k=2, pixels=False, traces=False, show_progress=False)).maps
        == {}
    )


def test_every_card_has_a_pixel_map_and_nothing_is_kept_unasked():
    found = tiny_explanation(cards=2)
    assert set(found.maps) == set(found.pictures) == {one.position for one in found.mistakes if one.curve}
    for position, picture in found.maps.items():
        assert (picture.width, picture.height) == (found.pictures[position].width, found.pictures[position].height)
        assert picture.data != found.pictures[position].data
    assert found.pixel_gradients == {}


def test_model_is_left_as_it_was():
    model = tiny_net().train()
    model[0].weight.requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    explain(model, tiny_images(), settings=ExplainSettings(top_k=2, traces=False, device="cpu", show_progress=False))
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True, True]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_dead_filters_are_left_out_of_curves():
    model = tiny_net()
    with torch.no_grad():
        model[0].bias[2] = -100.0
    found = explain(
        model, tiny_images(), settings=ExplainSettings(top_k=13, batch_size=5, traces=False, show_progress=False)
    )
    assert found.dead == (2,)
    assert found.context["reference"]["dead_filters"] == 1
    assert len(found.places) == 13
    for mistake in found.mistakes:
        assert mistake.filters[0].filter != found.filters[2]
        assert len(mistake.curve) == 13
    assert "(1) are left out of it" in " ".join(explain_page(found).split())


def test_no_mistake_at_all():
    images = tiny_images()
    with torch.no_grad():
        labels = tiny_net()(next(images.batches(24)).inputs).argmax(1)
    right = LabelledTensors(images._images, labels, images._prepare)
    found = tiny_explanation(images=right)
    assert (found.mistakes, found.accuracy, found.mistake_group.images) == ((), 1.0, 0)


def test_nothing_but_mistakes():
    images = tiny_images()
    wrong = LabelledTensors(images._images[::4], next(images.batches(24)).labels[::4], images._prepare)
    found = tiny_explanation(images=wrong)
    assert (found.accuracy, found.correct_group.images, found.mistake_group.images) == (0.0, 0, 6)


def _labelled(label):
    return LabelledTensors(torch.rand(3, 3, 12, 12), torch.tensor([0, label, 0]))


class _Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tiny_net()

    def forward(self, x):
        return self.net(x), x


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": _labelled(7)}, SourceError, "from 0 to 2, the classes of the model, got 7 for 'image 1'"),
        ({"top_k": 15}, ParamsalError, "at most 14, the number of filters, got 15"),
        ({"top_k": 0}, ParamsalError, "`top_k` to be at least 1, got 0"),
        ({"batch_size": 0}, ParamsalError, "`batch_size` to be at least 1, got 0"),
        ({"method": "grad-cam"}, ParamsalError, "one of 'parameter', 'pot', got 'grad-cam'"),
        ({"fit": "moments"}, ParamsalError, "one of 'mle', 'exponential', got 'moments'"),
        ({"method": "pot"}, InputError, "at least 201 images to fit the tails of the filters on, got 24"),
        ({"device": "abacus"}, ParamsalError, "'cpu' or 'cuda', got 'abacus'"),
        ({"layers": ["nowhere"]}, LayerError, "'nowhere'"),
        ({"model": _Pair()}, InputError, r"class scores \(\d+, C\), one row per example, got tuple"),
        ({"model": nn.Conv2d(3, 4, 3)}, (InputError, LayerError), "class scores"),
        ({"images": LabelledTensors(torch.rand(2, 1, 12, 12), torch.tensor([0, 1]))}, InputError, r"\(2, 1, 12, 12\)"),
        (
            {"images": LabelledTensors(torch.full((2, 3, 12, 12), torch.nan), torch.tensor([0, 1]))},
            InputError,
            "NaN or infinity for image 0",
        ),
        (
            {"images": LabelledTensors(torch.rand(1, 3, 12, 12), torch.tensor([0]))},
            InputError,
            "two images to take one on, got 1",
        ),
    ],
)
def test_what_cannot_be_explained(change, error, message):
    settings = {"top_k": 2, "traces": False, "show_progress": False, **change}
    model, images = settings.pop("model", tiny_net()), settings.pop("images", tiny_images())
    with pytest.raises(error, match=message):
        explain(model, images, settings=ExplainSettings(**settings))


def test_a_reference_of_other_weights_is_refused_before_any_pass():
    images = tiny_images()
    reference = fit_reference(tiny_net(), images, show_progress=False)
    other = tiny_net()
    with torch.no_grad():
        other[0].weight.add_(1)
    images.batches = None
    with pytest.raises(ReferenceMismatchError, match=r"'0.weight'"):
        explain(other, images, reference, settings=ExplainSettings(show_progress=False))


@pytest.mark.gpu
def test_on_a_gpu_and_back():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = tiny_net()
    found = explain(model, tiny_images(), settings=ExplainSettings(top_k=4, device="cuda", show_progress=False))
    assert next(model.parameters()).device.type == "cpu"
    assert [m.position for m in found.mistakes] == [m.position for m in tiny_explanation().mistakes]


def test_former_arguments_are_settings_now():
    with pytest.warns(
        DeprecationWarning, match=r"give `settings=ExplainSettings\(top_k=\.\.\., show_progress=\.\.\., traces=\.\.\."
    ):
        explanation = explain(tiny_net(), tiny_images(), top_k=4, show_progress=False, traces=False, cards=1)
    assert len(explanation.mistakes[0].filters) == 4
    with pytest.raises(TypeError, match="unexpected keyword argument 'top'"):
        explain(tiny_net(), tiny_images(), top=4)


def test_former_names_are_deprecated():
    explanation = tiny_explanation()
    mistake = explanation.mistakes[0]
    for former, owner, name in (
        ("prediction", mistake, "predicted"),
        ("prediction_confidence", mistake, "confidence"),
        ("correct", explanation, "correct_group"),
        ("incorrect", explanation, "mistake_group"),
    ):
        with pytest.warns(DeprecationWarning, match=f"{former}`.* is now .*{name}`"):
            assert getattr(owner, former) == getattr(owner, name)


def test_of_few_filters_all_are_named_where_nobody_says_how_many():
    few = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    found = explain(few, tiny_images(), settings=ExplainSettings(traces=False, cards=1, show_progress=False))
    assert {len(mistake.filters) for mistake in found.mistakes} == {6}
    assert found.context["parameters"]["top_k"] == 6
    with pytest.raises(ParamsalError, match="at most 6, the number of filters, got 7"):
        explain(few, tiny_images(), settings=ExplainSettings(top_k=7, show_progress=False))
    enough = explain(tiny_net(), tiny_images(), settings=ExplainSettings(cards=0, show_progress=False))
    assert enough.context["parameters"]["top_k"] == 10


@pytest.mark.parametrize("pixels", [torch.zeros(6, 3, 16, 16), torch.ones(6, 3, 16, 16) * 0.3])
def test_images_that_are_all_the_same(tmp_path, pixels):
    images = LabelledTensors(pixels, torch.arange(6) % 3)
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)),
    ).eval()
    found = explain(model, images, settings=ExplainSettings(traces=False, show_progress=False))
    assert len(found.dead) > 10
    assert found.write(tmp_path).exists()


def test_one_image_needs_a_reference():
    settings = ExplainSettings(traces=False, pixels=False, show_progress=False)
    with pytest.raises(InputError, match=r"at least two images .* got 1 image.*--reference FILE"):
        explain(tiny_net(), tiny_images(1), settings=settings)
    reference = fit_reference(tiny_net(), tiny_images(), show_progress=False)
    assert explain(tiny_net(), tiny_images(1), reference, settings=settings).images == 1
