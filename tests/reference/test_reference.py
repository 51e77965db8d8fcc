"""What a reference set says about every filter: against the whole matrix of profiles in float64."""

import itertools
from copy import deepcopy
from functools import cache

import pytest
import torch
from cases.images import image
from cases.networks import InPlace
from hypothesis import given, settings, strategies as st
from oracles.parameter_saliency import matrix, moments, profile_loop, standardize
from oracles.weights import seeded
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_paramsal import ParameterSaliency, Reference
from captum_paramsal.errors import InputError, ParamsalError, ReferenceFileError, ReferenceMismatchError
from captum_paramsal.reference.data_batches import total_of

LAYERS = ["first", "second", "third"]
COUNT = 17


def model_with_dead_filter(dtype=torch.float64):
    """Channel 2 of the first convolution is below zero for every image, so no gradient ever reaches it."""
    model = seeded(InPlace().to(dtype))
    with torch.no_grad():
        model.first.bias[2] = -1e3
    return model


@pytest.fixture(scope="module")
def data():
    return image(COUNT, 2, 6, 6), torch.arange(COUNT) % 3


@pytest.fixture(scope="module")
def model():
    return model_with_dead_filter()


@pytest.fixture(scope="module")
def profiles(model, data):
    return matrix(profile_loop(model, *data, LAYERS))


def batches(data, sizes):
    starts = [0, *itertools.accumulate(sizes)]
    return [(data[0][a:b], data[1][a:b]) for a, b in itertools.pairwise(starts)]


def fit(model, data, sizes=(4, 4, 4, 4, 1), **arguments):
    return Reference.fit(model, batches(data, sizes), show_progress=False, **arguments)


def assert_moments(reference, profiles, tolerance=1e-9):
    """Both moments within ``tolerance`` of the largest mean of the filter's layer (all of comparable scale here)."""
    mean, std = moments(profiles)
    assert reference.count == len(profiles)
    assert reference.mean.dtype == reference.std.dtype == torch.float64
    scale = mean.max()
    for name, got, expected in (("mean", reference.mean, mean), ("std", reference.std, std)):
        deviation = float(((got - expected).abs() / scale).max())
        assert deviation <= tolerance, f"{name} deviates by {deviation:.3g} of the largest mean"


@pytest.mark.parametrize("sizes", [(17,), (1,) * 17, (4, 4, 4, 4, 1), (16, 1)], ids=str)
def test_moments_equal_the_whole_matrix(model, data, profiles, sizes):
    reference = fit(model, data, sizes)
    assert_moments(reference, profiles)
    assert reference.filters.layers == tuple(LAYERS)


def test_internal_batches_change_nothing(model, data, profiles):
    assert_moments(fit(model, data, (17,), internal_batch_size=5), profiles)


def test_dead_filters_are_exactly_those_that_never_vary(model, data):
    reference = fit(model, data)
    dead = reference.dead.nonzero()[:, 0].tolist()
    written_over = reference.filters.slice("third").start  # `InPlace` sets that channel to zero
    assert dead == [2, written_over], f"dead: {[str(reference.filters[j]) for j in dead]}"
    assert reference.mean[2] == 0
    assert reference.std[2] == 0


@cache
def profiles_of_all():
    return matrix(profile_loop(model_with_dead_filter(), image(COUNT, 2, 6, 6), torch.arange(COUNT) % 3, LAYERS))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    cuts=st.lists(st.integers(1, COUNT - 1), unique=True, min_size=1, max_size=5).map(sorted),
    seed=st.randoms(use_true_random=False),
)
def test_merging_any_parts_in_any_order(cuts, seed):
    model, data = model_with_dead_filter(), (image(COUNT, 2, 6, 6), torch.arange(COUNT) % 3)
    profiles = profiles_of_all()
    edges = [0, *cuts, COUNT]
    pieces = [(data[0][a:b], data[1][a:b]) for a, b in itertools.pairwise(edges)]
    # A reference of fewer than two images is refused, so pieces of one image ride with a neighbour.
    parts, waiting = [], []
    for piece in pieces:
        waiting.append(piece)
        if sum(len(x) for x, _ in waiting) >= 2:
            parts.append(waiting)
            waiting = []
    parts[-1].extend(waiting)
    references = [Reference.fit(model, part, total=COUNT, show_progress=False) for part in parts]
    seed.shuffle(references)
    while len(references) > 1:  # a tree of random shape
        right = references.pop(seed.randrange(len(references)))
        left = references.pop(seed.randrange(len(references)))
        references.append(left.merge(right))
    assert_moments(references[0], profiles)


def test_merging_leaves_both_parts_as_they_were(model, data):
    left, right = fit(model, data, (4, 4), total=COUNT), fit(model, (data[0][8:], data[1][8:]), (9,), total=COUNT)
    before = [(r.count, r.mean.clone(), r.std.clone()) for r in (left, right)]
    left.merge(right)
    for reference, (count, mean, std) in zip((left, right), before, strict=True):
        assert reference.count == count
        assert torch.equal(reference.mean, mean)
        assert torch.equal(reference.std, std)


def test_profiles_far_from_zero_lose_no_digits(model, data):
    # A constant that dwarfs the spread ruins sums of squares; a hundred copies of nearly the same image show it.
    x, y = data[0][:1].repeat(100, 1, 1, 1), data[1][:1].repeat(100)
    x = x + 1e-7 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).double()
    profiles = matrix(profile_loop(model, x, y, LAYERS))
    reference = Reference.fit(model, [(x[:33], y[:33]), (x[33:], y[33:])], show_progress=False)
    _, std = moments(profiles)
    alive = std > 0
    ratio = (reference.std[alive] / std[alive] - 1).abs().max()
    assert ratio < 1e-4, f"standard deviation off by {float(ratio):.3g}"


def test_scores_are_standard_deviations_from_the_mean(model, data, profiles):
    saliency = ParameterSaliency(model, fit(model, data))
    x, y = image(5, 2, 6, 6, seed=99), torch.tensor([2, 1, 0, 0, 1])
    mean, std = moments(profiles)
    expected = standardize(matrix(profile_loop(model, x, y, LAYERS)), mean, std)
    scores = saliency.attribute(x, target=y)
    assert scores.dtype == torch.float64
    # In units of the profile, where the promise of 1e-9 is made: dividing by a small spread magnifies it.
    off = (scores - expected).abs() * std / mean.max()
    alive = std > 0
    worst = int(off.amax(0).argmax())
    assert float(off.max()) <= 1e-9, f"{saliency.filters[worst]}: {float(off[:, worst].max()):.3g} of the largest mean"
    lowest = scores[:, alive].min(dim=1).values
    assert torch.equal(scores[:, 2], lowest), "a dead filter scores as low as the least salient living one"


def test_a_dead_filter_is_never_first(model, data):
    saliency = ParameterSaliency(model, fit(model, data))
    # Alive on these images: the channel's bias is beaten, its gradient is not 0 and its z-score would be infinite.
    bright = 1e4 * image(5, 2, 6, 6, seed=99)
    raw = matrix(profile_loop(model, bright, torch.tensor([2, 1, 0, 0, 1]), LAYERS))
    assert (raw[:, 2] > 0).any()
    scores = saliency.attribute(bright, target=torch.tensor([2, 1, 0, 0, 1]))
    assert scores.isfinite().all()
    for n, best in enumerate(saliency.filters.top(scores, k=1)):
        assert saliency.filters.index(best[0]) != 2, f"image {n}"


def test_float32_reference_keeps_float64_moments(data):
    model = model_with_dead_filter(torch.float32)
    x, y = data[0].float(), data[1]
    reference = fit(model, (x, y))
    exact = matrix(profile_loop(deepcopy(model).double(), x.double(), y, LAYERS))
    loop = matrix(profile_loop(model, x, y, LAYERS))
    mean, _ = moments(exact)
    theirs = float((moments(loop)[0] - mean).norm() / mean.norm())
    ours = float((reference.mean - mean).norm() / mean.norm())
    assert ours <= 5 * max(theirs, torch.finfo(torch.float32).eps), f"{ours:.3g} against the loop's {theirs:.3g}"
    scores = ParameterSaliency(model, reference).attribute(x, target=y)
    assert scores.dtype == torch.float32


def test_inputs_alone_are_taken_at_the_prediction(model, data):
    with torch.no_grad():
        predicted = model(data[0]).argmax(1)
    reference = Reference.fit(model, [data[0][:8], data[0][8:]], show_progress=False)
    assert_moments(reference, matrix(profile_loop(model, data[0], predicted, LAYERS)))


def test_saved_and_loaded(model, data, tmp_path):
    reference = fit(model, data)
    path = tmp_path / "reference.safetensors"
    reference.save(path)
    loaded = Reference.load(path)
    assert loaded.count == reference.count
    assert loaded.loss_name == reference.loss_name
    assert loaded.filters == reference.filters
    for name in ("mean", "std", "dead"):
        assert torch.equal(getattr(loaded, name), getattr(reference, name)), name
    first = ParameterSaliency(model, reference).attribute(data[0], target=data[1])
    second = ParameterSaliency(model, loaded).attribute(data[0], target=data[1])
    assert torch.equal(first, second)


def test_loaded_parts_merge_like_fitted_ones(model, data, profiles, tmp_path):
    fit(model, data, (4, 4), total=COUNT).save(tmp_path / "left.safetensors")
    fit(model, (data[0][8:], data[1][8:]), (9,), total=COUNT).save(tmp_path / "right.safetensors")
    merged = Reference.load(tmp_path / "left.safetensors").merge(Reference.load(tmp_path / "right.safetensors"))
    assert_moments(merged, profiles)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1, -8], ids=str)
def test_a_truncated_file_is_refused(model, data, tmp_path, keep):
    path = tmp_path / "reference.safetensors"
    fit(model, data).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ReferenceFileError, match=r"reference\.safetensors"):
        Reference.load(path)


@pytest.mark.parametrize("where", [0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_damaged_file_is_refused(model, data, tmp_path, where):
    path = tmp_path / "reference.safetensors"
    fit(model, data).save(path)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(ReferenceFileError, match=r"reference\.safetensors"):
        Reference.load(path)


def test_another_file_is_refused(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ReferenceFileError, match=r"weights\.safetensors"):
        Reference.load(tmp_path / "weights.safetensors")


def test_a_reference_of_other_weights_is_refused_and_says_where(model, data):
    reference = fit(model, data)
    other = deepcopy(model)
    with torch.no_grad():
        other.second.weight[3, 0, 1, 1] += 1e-3
    with pytest.raises(ReferenceMismatchError, match="second"):
        ParameterSaliency(other, reference).attribute(data[0], target=data[1])


def test_a_reference_of_other_running_statistics_is_refused(data):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)).double()
    seeded(model, data[0])
    reference = fit(model, data)
    model[1].running_mean[1] += 0.5
    with pytest.raises(ReferenceMismatchError, match=r"1\.running_mean"):
        ParameterSaliency(model, reference).attribute(data[0], target=data[1])


def test_a_reference_of_other_layers_is_refused(model, data):
    reference = fit(model, data, layers=["first", "second"])
    with pytest.raises(ReferenceMismatchError, match="third"):
        ParameterSaliency(model, reference, layers=LAYERS).attribute(data[0], target=data[1])


def test_a_model_takes_the_layers_of_its_reference(model, data):
    reference = fit(model, data, layers=["second", nn.Linear])
    saliency = ParameterSaliency(model, reference)
    assert saliency.filters.layers == ("head", "second")
    assert saliency.attribute(data[0], target=data[1]).shape == (COUNT, 9)


def test_transferred_on_purpose(model, data):
    other = deepcopy(model)
    with torch.no_grad():
        other.second.weight.mul_(1.5)
    reference = fit(model, data)
    scores = ParameterSaliency(other, reference.transfer(other)).attribute(data[0], target=data[1])
    mean, std = reference.mean, reference.std
    expected = standardize(matrix(profile_loop(other, *data, LAYERS)), mean, std)
    assert float(((scores - expected).abs() * std / mean.max()).max()) <= 1e-9


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_are_refused(model, data, count):
    with pytest.raises(ParamsalError, match=str(count)):
        Reference.fit(model, [(data[0][:count], data[1][:count])] if count else [], show_progress=False)


def test_a_reference_with_additional_arguments(data):
    class Scaled(InPlace):
        def forward(self, x, scale, power):
            return super().forward(x) * scale[:, None] ** power

    model = seeded(Scaled().double(), data[0], torch.ones(COUNT).double(), 1)
    scale = torch.linspace(0.5, 2, COUNT).double()
    parts = [(data[0][a:b], data[1][a:b], (scale[a:b], 2)) for a, b in ((0, 9), (9, 17))]
    reference = Reference.fit(model, parts, show_progress=False, internal_batch_size=4)
    exact = profile_loop(model, *data, LAYERS, additional_forward_args=(scale, 2))
    assert_moments(reference, matrix(exact))


class Doubling(DataLoader):
    def __iter__(self):
        return iter([*super().__iter__(), *super().__iter__()])


IMAGES_AND_LABELS = TensorDataset(torch.rand(30, 3, 6, 6), torch.arange(30) % 3)
GROUPED = TensorDataset(torch.rand(6, 5, 3, 6, 6), torch.arange(30).view(6, 5) % 3)
LOADERS = {
    "plain": (DataLoader(IMAGES_AND_LABELS, batch_size=4), 30),
    "drop last": (DataLoader(IMAGES_AND_LABELS, batch_size=4, drop_last=True), 28),
    "list of indices": (DataLoader(IMAGES_AND_LABELS, batch_sampler=[[0, 1, 2], [3, 4], [0]]), 6),
    "batches of the data set": (DataLoader(GROUPED, batch_size=None), None),
    "a stream of indices": (DataLoader(IMAGES_AND_LABELS, batch_sampler=map(list, [[0, 1], [2]])), None),
    "a loop of its own": (Doubling(IMAGES_AND_LABELS, batch_size=4), None),
    "a list": ([(torch.rand(3, 3, 6, 6), [0, 1, 2])] * 2, 6),
}


@pytest.mark.parametrize("name", LOADERS)
def test_only_loaders_that_know_how_many_images_they_draw_tell(name):
    loader, count = LOADERS[name]
    assert total_of(loader, None) == count
    if count is not None:
        assert sum(len(batch[0]) for batch in loader) == count


def test_a_loader_that_tells_too_little_is_refused_at_once():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()
    loader = DataLoader(GROUPED, batch_size=1, collate_fn=lambda items: items[0])
    with pytest.raises(InputError, match=r"Expected the 6 images that the loader tells, got 10 so far.*`total="):
        Reference.fit(model, loader, show_progress=False)
    assert Reference.fit(model, loader, total=30, show_progress=False).tail.total == 30
    assert Reference.fit(model, loader, tail=None, show_progress=False).count == 30
