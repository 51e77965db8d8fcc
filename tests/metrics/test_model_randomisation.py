import sys
import warnings
from dataclasses import replace

import pytest
import torch
from captum.attr import LayerGradCam, NoiseTunnel, Saliency
from metrics.small_cases import case_of, small_model, some_images
from scipy.stats import spearmanr
from torch import nn

from captum_paramsal.errors import InputError, LayerError
from captum_paramsal.hooks import layers_from_the_end
from captum_paramsal.metrics import Case, InputMaps, ModelRandomisation
from captum_paramsal.metrics.map_similarity import rank_correlation, structural_similarity
from captum_paramsal.metrics.randomised_models import randomise, randomised_models
from captum_paramsal.metrics.shared_passes import SharedPasses

RANKS, SSIM = "randomised rank correlation", "randomised SSIM"


def saliency(model):
    return InputMaps(Saliency(model), abs=False)


class OtherWayRound(nn.Module):
    """Registered in another order than it runs, with weights of its own and a layer that is never called."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.stem = nn.Conv2d(1, 4, 3)

    def forward(self, images):
        rows = self.stem(images).flatten(2).transpose(1, 2)
        mixed, _ = self.attention(rows, rows, rows)
        return self.head(mixed.mean(dim=1)) * self.scale


def test_layers_by_the_time_they_work():
    names = layers_from_the_end(OtherWayRound().eval(), torch.rand(1, 1, 5, 5))
    assert names == ["", "head", "attention.out_proj", "attention", "stem"]
    assert layers_from_the_end(small_model(), some_images()[0]) == ["6", "2", "0"]
    with pytest.raises(LayerError, match="Flatten without any"):
        layers_from_the_end(nn.Flatten(), torch.zeros(1, 2))


class TokenInFront(nn.Module):
    """Puts a token of its own in front, like a vision transformer, and has a head for training alone."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.ones(1, 1, 4))
        self.stem = nn.Conv2d(1, 4, 3)
        self.block = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)
        self.auxiliary = nn.Linear(4, 3)

    def forward(self, images):
        rows = self.stem(images).flatten(2).transpose(1, 2)
        rows = self.block(torch.cat([self.token.expand(len(rows), -1, -1), rows], dim=1))
        return self.head(rows[:, 0])


def test_a_token_works_before_the_blocks_and_an_idle_head_never():
    names = layers_from_the_end(TokenInFront().eval(), torch.rand(1, 1, 5, 5))
    assert names == ["head", "block", "", "stem"]


def test_what_is_traced_works_as_a_whole():
    images = torch.rand(1, 1, 5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1)), images)
    model = nn.Sequential(traced, nn.Flatten(), nn.Linear(18, 2)).eval()
    assert layers_from_the_end(model, images) == ["2", "0.1", "0.0"]


def test_stages_change_the_last_layers_first():
    model = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    changed = [
        {name.split(".")[0] for name, value in copy.state_dict().items() if not torch.equal(value, before[name])}
        for copy in randomised_models(model, ["6", "2", "0"], 4, seed=0)
    ]
    assert changed == [set(), {"6"}, {"6", "2"}, {"6", "2", "0"}]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_are_drawn_as_new_or_as_they_are_spread():
    conv = nn.Conv2d(2, 3, 3)
    nn.init.constant_(conv.weight, 9.0)
    randomise(conv)
    assert conv.weight.abs().max() < 1  # the layer's own rule
    model = OtherWayRound()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bare = nn.Module()
        bare.weight = nn.Parameter(3 + 2 * torch.randn(5000))
        bare.zeros = nn.Parameter(torch.zeros(3), requires_grad=False)
        old = bare.weight.detach().clone()
        randomise(bare)
        randomise(model)
    assert not torch.equal(bare.weight, old)
    torch.testing.assert_close(bare.weight.mean(), old.mean(), rtol=0, atol=0.1)
    torch.testing.assert_close(bare.weight.std(), old.std(), rtol=0.05, atol=0)
    assert bare.zeros.tolist() == [0, 0, 0]
    assert bare.weight.requires_grad
    assert not bare.zeros.requires_grad


def test_by_hand():
    model = small_model()
    case = case_of(saliency(model), model, rebuild=saliency)
    metric = ModelRandomisation(stages=3, seed=4)
    curves = metric.curves(case)
    copies = randomised_models(model, ["6", "2", "0"], 3, seed=4)
    for stage, copy in enumerate(copies, start=1):
        maps = saliency(copy)(case.images, target=case.targets).sum(dim=1).abs().flatten(1)
        for i, trained in enumerate(case.maps.sum(dim=1).abs().flatten(1)):
            assert curves[RANKS][i, stage] == pytest.approx(spearmanr(trained, maps[i]).statistic)
    assert curves[RANKS][:, 0].tolist() == pytest.approx([1] * 3)
    assert metric.axis.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    score = metric.score(case)
    assert list(score) == [column.name for column in metric.columns]
    assert torch.equal(score[RANKS], curves[RANKS][:, -1])
    assert (score[RANKS] < 0.9).all()


def test_a_method_that_ignores_the_model_stays():
    def edges(_=None):
        return InputMaps(lambda images: images.diff(dim=3, append=images[..., -1:]).abs())

    curves = ModelRandomisation(stages=2).curves(case_of(edges(), rebuild=edges))
    assert torch.equal(curves[RANKS], torch.ones(3, 3).double())


def test_random_methods_are_compared_on_the_same_numbers():
    def smooth(model):
        return InputMaps(NoiseTunnel(Saliency(model)), nt_samples=2)

    model = small_model()
    case = case_of(smooth(model), model, rebuild=smooth)
    random = torch.random.get_rng_state()
    first, second = (ModelRandomisation(stages=2).curves(case)[RANKS] for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(random, torch.random.get_rng_state())


def test_what_cannot_be_judged():
    model = small_model()
    metric = ModelRandomisation(stages=2)
    for case, reason in (
        (case_of(saliency(model), model), "cannot be rebuilt"),
        (case_of(lambda images: images, model.forward, rebuild=saliency), "model is a function"),
    ):
        assert reason in metric.unavailable(case)[RANKS]
        assert all(values.isnan().all() and values.shape == (3, 3) for values in metric.curves(case).values())

    for pixels in (1, 2):
        # Enlarging a map that is the same everywhere rounds.
        flat = torch.full((3, 1, pixels, 3), 0.1 * (pixels - 1))
        curves = metric.curves(case_of(saliency(model), model, rebuild=lambda _, flat=flat: InputMaps(lambda _: flat)))
        assert curves[RANKS].isnan().tolist() == [[False, True, True]] * 3


def test_without_scikit_image(monkeypatch):
    monkeypatch.setattr("captum_paramsal.metrics.map_similarity.find_spec", lambda _: None)
    monkeypatch.setattr("captum_paramsal.metrics.map_similarity.import_module", sys.exit)
    model = small_model()
    case = case_of(saliency(model), model, rebuild=saliency)
    metric = ModelRandomisation(stages=1)
    assert "pip install scikit-image" in metric.unavailable(case)[SSIM]
    found = metric.score(case)
    assert found[SSIM].isnan().all()
    assert found[RANKS].isfinite().all()


def test_structural_similarity():
    measures = pytest.importorskip("skimage.metrics")
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 2, 9, 12, generator=generator, dtype=torch.float64)
    found = structural_similarity(one, 7 * other)
    for i in range(2):
        a, b = ((each[i].abs() / each[i].abs().max()).numpy() for each in (one, other))
        assert found[i] == pytest.approx(measures.structural_similarity(a, b, data_range=1.0))
    torch.testing.assert_close(structural_similarity(one, -3 * one), torch.ones(2).double())
    assert structural_similarity(one[:, :4, :4], other[:, :4, :4]).isfinite().all()  # a window of 3
    assert structural_similarity(one[:, :2], other[:, :2]).isnan().all()
    assert structural_similarity(0 * one, other).isnan().all()
    model = small_model()
    case = case_of(saliency(model), model, rebuild=saliency)
    assert ModelRandomisation(stages=1).unavailable(case) == {}
    assert (ModelRandomisation(stages=1).score(case)[SSIM] < 1).all()


def test_rank_correlation():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randint(-3, 4, (2, 4, 5, 6), generator=generator).double()  # with ties
    expected = [spearmanr(a.abs().flatten(), b.abs().flatten()).statistic for a, b in zip(one, other, strict=True)]
    assert rank_correlation(one, other).tolist() == pytest.approx(expected)
    other[0], other[1, 0, 0] = 2.0, torch.nan
    assert rank_correlation(one, other).isnan().tolist() == [True, True, False, False]


def test_the_model_is_left_as_it_was():
    model = small_model().train()
    case = case_of(LayerGradCam(model, model[2]), model, rebuild=lambda m: InputMaps(LayerGradCam(m, m[2])))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ModelRandomisation(stages=2).score(case)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_bad_settings():
    with pytest.raises(InputError, match=r"`stages` .* got 0"):
        ModelRandomisation(stages=0)


def test_the_order_of_layers_is_found_once_for_all_methods(monkeypatch):
    asked = []

    def order(*given):
        asked.append(given)
        return layers_from_the_end(*given)

    monkeypatch.setattr("captum_paramsal.metrics.model_randomisation.layers_from_the_end", order)
    model, (images, targets) = small_model(), some_images()
    first = Case.of(model, saliency(model), images, targets, rebuild=saliency)
    second = first.explained_by(first.explain, 2 * first.maps, saliency)
    metric = ModelRandomisation(stages=2)
    assert metric.score(first)[RANKS].equal(metric.score(second)[RANKS])
    assert len(asked) == 1
    metric.score(replace(first, shared=SharedPasses()))
    assert len(asked) == 2
