"""The images in which filters are most active: against a pass that keeps every output, sorted."""

import itertools

import pytest
import torch
from cases.real_models import imagenet, squeezenet
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from captum_paramsal import Filter, InputError, LayerError, Reference, ReferenceMismatchError
from captum_paramsal.hooks import output_peaks
from captum_paramsal.reference import Exemplars, NumberedBatch, PictureCrops

COUNT = 23
QUIET = {"show_progress": False}


class Normed(nn.Module):
    """Convolutions before batch norms, one of which turns signs, and a linear layer at the end."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 5, 3, stride=2)
        self.linear = nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)), inplace=True)
        x = F.relu(self.second(x), inplace=True)
        return self.linear(x.mean((2, 3)))


class Twice(nn.Module):
    """A layer that runs twice, once of these in a block that runs again in the backward pass."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(2, 3)

    def forward(self, x):
        x = self.conv(x).relu_()
        x = checkpoint(lambda y: self.conv(y).tanh(), x, use_reentrant=False)
        return self.linear(x.mean((2, 3)))


class Tokens(nn.Module):
    """Attention whose heads are filters, and a linear layer at tokens."""

    def __init__(self):
        super().__init__()
        self.patch, self.mix = nn.Conv2d(2, 6, 2, stride=2), nn.MultiheadAttention(6, 2, batch_first=True)
        self.mlp, self.linear = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.linear(self.mlp(x + self.mix(x, x, x)[0]).mean(dim=1))


def network(kind=Normed):
    torch.manual_seed(0)
    model = kind().double()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(torch.tensor([1.0, -2.0, 0.5, -0.1]))
                module.running_mean.normal_()
    return model.eval()


def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(COUNT, 2, 8, 8, generator=generator, dtype=torch.float64)
    # Two images are there twice, so that activations are equal.
    images[7], images[19] = images[2], images[11]
    return images, torch.arange(COUNT) % 3


def batches(sizes=(5, 5, 5, 5, 3)):
    images, labels = data()
    edges = [0, *itertools.accumulate(sizes)]
    return [(images[a:b], labels[a:b]) for a, b in itertools.pairwise(edges)]


def fit(model=None, given=None, **options):
    options = {"exemplars": 4, "tail": None} | QUIET | options
    return Reference.fit(model or network(), batches() if given is None else given, **options)


def outputs_of(model, names):
    """What modules returned for all images at once, in one list for each name."""
    seen = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: seen[name].append(output.clone())
        )
        for name in names
    ]
    with torch.no_grad():
        model(data()[0])
    for handle in handles:
        handle.remove()
    return seen


def assert_exemplars(reference, layer, maps, k=4):
    """Against maps ``(N, F, *places)`` of all images."""
    flat = maps.reshape(*maps.shape[:2], -1)
    highest = flat.amax(dim=2)
    for index in range(maps.shape[1]):
        got = reference.exemplars(Filter(layer, index))
        order = sorted(range(COUNT), key=lambda n, f=index: (-float(highest[n, f]), n))[:k]
        assert got.images == tuple(order)
        assert got.labels == tuple(n % 3 for n in order)
        activations = torch.tensor(got.activations, dtype=torch.float64)
        torch.testing.assert_close(activations, highest[order, index], rtol=1e-12, atol=0)
        for number, place in zip(order, got.places, strict=True):
            at = torch.unravel_index(flat[number, index].argmax(), maps.shape[2:]) if maps.ndim > 2 else ()
            assert place == tuple(map(int, at))
        assert got.active == float((highest[:, index] > 0).double().mean())
        assert got.names == ("",) * k


@pytest.mark.parametrize("sizes", [(23,), (1,) * 23, (5, 5, 5, 5, 3)], ids=str)
def test_equal_to_a_pass_that_keeps_every_output(sizes):
    reference = fit(given=batches(sizes))
    # A convolution before a batch norm is taken as that returns it: two of the norm's weights are negative.
    outputs = outputs_of(network(), ["norm", "second"])
    assert_exemplars(reference, "first", outputs["norm"][0])
    assert_exemplars(reference, "second", outputs["second"][0])


@pytest.mark.slow
@pytest.mark.data
def test_on_photos(paramsal_data):
    model, (images, labels) = squeezenet(paramsal_data), imagenet(paramsal_data, 24)
    layers = ["features.0", "features.6.expand3x3", "features.12.expand1x1"]
    outputs = {name: [] for name in layers}
    for name in layers:
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: outputs[name].append(out.clone()))
    with torch.no_grad():
        model(images)
    whole = {name: maps[0] for name, maps in outputs.items()}
    reference = Reference.fit(
        model, [(images[:10], labels[:10]), (images[10:], labels[10:])], layers=layers, exemplars=5, **QUIET
    )
    for item in reference.filters:
        got, maps = reference.exemplars(item), whole[item.layer][:, item.index]
        highest = maps.flatten(1).amax(dim=1)
        values = highest.topk(5).values
        torch.testing.assert_close(torch.tensor(got.activations), values, rtol=1e-4, atol=1e-4)
        for number, place, value in zip(got.images, got.places, values, strict=True):
            torch.testing.assert_close(maps[number][place], value, rtol=1e-4, atol=1e-4)


def test_of_a_linear_layer_without_places():
    reference = fit(layers=["linear"])
    (output,) = outputs_of(network(), ["linear"])["linear"]
    assert_exemplars(reference, "linear", output)
    assert reference.exemplars(Filter("linear", 0)).places == ((),) * 4


def test_of_a_layer_that_runs_twice_and_in_a_block_that_runs_again():
    model = network(Twice)
    reference = fit(model, layers=["conv"])
    first, second = outputs_of(model, ["conv"])["conv"]
    highest = torch.stack([first, second]).flatten(3).amax(dim=(0, 3))
    for index in range(2):
        got = reference.exemplars(Filter("conv", index))
        order = sorted(range(COUNT), key=lambda n, f=index: (-float(highest[n, f]), n))[:4]
        assert got.images == tuple(order)
        for number, place in zip(order, got.places, strict=True):
            call = first if first[number, index].max() >= second[number, index].max() else second
            assert call[number, index][place] == highest[number, index]


def test_of_tokens_and_heads():
    model = network(Tokens)
    reference = fit(model)
    outputs = outputs_of(model, ["patch", "mlp"])
    assert_exemplars(reference, "mlp", outputs["mlp"][0].transpose(1, 2))
    tokens = outputs["patch"][0].flatten(2).transpose(1, 2)
    projected = F.linear(tokens, model.mix.in_proj_weight, model.mix.in_proj_bias)
    heads = projected.unflatten(2, (6, 3)).square().mean(dim=3).sqrt().transpose(1, 2)
    for index, item in enumerate(reference.filters[reference.filters.slice("mix")]):
        got = reference.exemplars(item)
        order = heads[:, index].amax(dim=1).sort(descending=True, stable=True).indices[:4]
        assert got.images == tuple(order.tolist())
        assert got.places == tuple((int(heads[n, index].argmax()),) for n in order)
        assert got.active == 1.0


def test_internal_batches_change_nothing():
    assert_same(fit(internal_batch_size=2), fit())


@pytest.mark.parametrize("kind", [Normed, Twice, Tokens])
def test_fetched_together_from_a_device_that_is_not_waited_for(kind, monkeypatch):
    model = network(kind)
    expected = fit(model)
    monkeypatch.setattr(output_peaks, "_AT_ONCE", set())
    found = fit(model)
    for name, value in found.exemplar_table.to_tensors().items():
        assert torch.equal(value, expected.exemplar_table.to_tensors()[name]), name
    assert found.exemplar_table.to_dict() == expected.exemplar_table.to_dict()


def assert_same(one, other):
    for name, value in one.exemplar_table.to_tensors().items():
        torch.testing.assert_close(value, other.exemplar_table.to_tensors()[name], rtol=1e-12, atol=1e-12)
    assert one.exemplar_table.to_dict() == other.exemplar_table.to_dict()


def numbered(names=False):
    parts = [part.tolist() for part in torch.arange(COUNT).split(5)]
    return [
        NumberedBatch(batch, numbers, [f"{number}.png" for number in numbers] if names else ())
        for batch, numbers in zip(batches(), parts, strict=True)
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_merged_in_any_order(order):
    parts = [fit(given=numbered()[start : start + 2]) for start in (0, 2, 4)]
    one, *others = (parts[number] for number in order)
    assert_same(one.merge(*others), fit())


def test_merged_parts_have_images_of_their_own():
    with pytest.raises(ReferenceMismatchError, match="image 0 in more than one"):
        fit().merge(fit())
    with pytest.raises(ReferenceMismatchError, match=r"exemplars \(4 of each filter\), got one with none"):
        fit().merge(fit(exemplars=None))
    with pytest.raises(ReferenceMismatchError, match="to keep 4 exemplars of each filter, got one with 2"):
        fit(given=numbered()[:2]).merge(fit(given=numbered()[2:], exemplars=2))


def test_numbers_and_names_that_the_batches_tell(tmp_path):
    reference = fit(given=numbered(names=True))
    assert_same(reference, fit(given=numbered(names=True)[::-1]))
    item = reference.filters[1]
    got = reference.exemplars(item)
    assert got.images == fit().exemplars(item).images
    assert got.names == tuple(f"{number}.png" for number in got.images)
    kept = {n for one in reference.filters for n in reference.exemplars(one).images}
    assert reference.exemplar_table.names.keys() == kept
    reference.save(tmp_path / "reference")
    assert Reference.load(tmp_path / "reference").exemplars(item) == got


def test_numbers_for_some_batches_alone_are_refused():
    with pytest.raises(InputError, match="Batch 1 of the reference set: Expected numbers for the images of all"):
        fit(given=[batches()[0], *numbered()[1:]])
    with pytest.raises(InputError, match="a number for each of 5 images"):
        fit(given=[NumberedBatch(batches()[0], [1, 2])])
    with pytest.raises(ReferenceMismatchError, match="image 3 in more than one"):
        fit(given=[NumberedBatch(batches()[0], [1, 2, 3, 3, 4])])


def test_saved_and_loaded(tmp_path):
    reference = fit()
    reference.save(tmp_path / "reference")
    loaded = Reference.load(tmp_path / "reference")
    assert_same(loaded, reference)
    assert loaded.exemplars(Filter("second", 2)) == reference.exemplars(Filter("second", 2))


def test_the_rest_is_as_without():
    reference, without = fit(), fit(exemplars=None)
    assert torch.equal(reference.mean, without.mean)
    assert torch.equal(reference.std, without.std)


def test_what_was_not_kept():
    with pytest.raises(
        InputError, match=r"exemplars, got one without. Fit it with `Reference.fit\(..., exemplars=9\)`"
    ):
        fit(exemplars=None).exemplars(Filter("first", 0))
    with pytest.raises(LayerError, match=r"got third\[0\]"):
        fit().exemplars(Filter("third", 0))


@pytest.mark.parametrize("k", [0, -1, 2.5, True])
def test_a_number_of_exemplars_that_is_none(k):
    with pytest.raises(InputError, match="`exemplars`, the images that are kept of each filter, to be at least 1"):
        fit(exemplars=k)


def test_more_than_there_are_images():
    assert len(fit(exemplars=50).exemplars(Filter("first", 0))) == COUNT


def test_a_weight_that_is_used_where_nothing_shows_it():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.scale = nn.Conv2d(2, 3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.conv(x).mean((2, 3)) @ self.scale.weight

    reference = fit(network(Hidden), layers=["conv", "scale"])
    assert len(reference.exemplars(Filter("conv", 0))) == 4
    with pytest.raises(InputError, match="layer 'scale' did not run in the pass, or its weight was used in a way"):
        reference.exemplars(Filter("scale", 0))


class Skipping(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 3)
        self.skips = False

    def forward(self, x):
        x = self.conv(x)
        return self.linear((x if self.skips else self.norm(x)).mean((2, 3)))


@pytest.mark.parametrize("first", [True, False])
def test_a_norm_that_reads_a_layer_in_some_runs_only(first):
    model = Skipping().double().eval()

    def given():
        for number, batch in enumerate(batches()):
            model.skips = first == (number == 0)
            yield batch

    with pytest.raises(LayerError, match="Batch 1 of the reference set: Expected a batch norm behind layer 'conv'"):
        fit(model, given())


def test_a_loss_of_ones_own_without_classes():
    given = [(x, y.double()) for x, y in batches()]
    reference = fit(given=given, loss=lambda scores, target: (scores[:, 0] - target).square())
    got = reference.exemplars(Filter("first", 0))
    assert got.labels == (-1,) * 4
    assert got.class_shares() == ()
    assert got.short_name() is None


def test_predictions_where_there_are_no_labels():
    images, _ = data()
    reference = fit(given=[images])
    with torch.no_grad():
        predicted = network()(images).argmax(dim=1)
    got = reference.exemplars(Filter("second", 1))
    assert got.labels == tuple(predicted[list(got.images)].tolist())


def exemplars(labels, classes):
    count = len(labels)
    return Exemplars(
        Filter("conv", 0), tuple(range(count)), ("",) * count, labels, (1.0,) * count, ((0, 0),) * count, 1.0, classes
    )


def test_lift_and_the_test_of_a_class():
    got = exemplars((2, 2, 0, 2), {0: 10, 1: 20, 2: 10})
    first, second = got.class_shares()
    assert (first.label, first.count, first.share, first.share_in_reference, first.lift) == (2, 3, 0.75, 0.25, 3.0)
    # At least 3 of 4, drawn from 40 of which 10 are of the class: C(10, 3)·30 + C(10, 4) of C(40, 4), for 3 classes.
    assert first.p_value == pytest.approx(3 * (120 * 30 + 210) / 91390)
    assert (second.label, second.lift) == (0, 1.0)
    assert got.short_name() is None
    assert got.short_name(level=0.2) == "class 2, 3 of 4"
    assert got.short_name(["cat", "dog", "fox"], level=0.2) == "fox, 3 of 4"
    with pytest.raises(InputError, match=r"in \(0, 1\), got 1"):
        got.short_name(level=1.0)


def test_chance_names_few_filters():
    classes = dict.fromkeys(range(10), 100)
    generator, named = torch.Generator().manual_seed(0), 0
    for _ in range(400):
        drawn = torch.randperm(1000, generator=generator)[:9] // 100
        named += exemplars(tuple(drawn.tolist()), classes).short_name(level=0.05) is not None
    assert named <= 0.05 * 400


class TestCrops:
    def test_what_the_filter_sees_and_nothing_more(self):
        model, (images, _) = network(), data()
        reference = fit(model)
        crops = PictureCrops(model, images)
        for item in reference.filters:
            got = reference.exemplars(item)
            for picture, crop, box in zip(images[list(got.images)], crops.of(got), crops.boxes(got), strict=True):
                (top, bottom), (left, right) = box
                assert torch.equal(crop, picture[:, top : bottom + 1, left : right + 1])
        first, second = (crops.of(reference.exemplars(Filter(name, 0))) for name in ("first", "second"))
        assert {tuple(crop.shape) for crop in first} == {(2, 3, 3)}
        assert {tuple(crop.shape) for crop in second} == {(2, 5, 5)}

    def test_the_crop_alone_has_the_activation(self):
        model, (images, _) = network(), data()
        got = fit(model).exemplars(Filter("first", 1))
        for crop, activation in zip(PictureCrops(model, images).of(got), got.activations, strict=True):
            with torch.no_grad():
                assert float(model.norm(model.first(crop[None]))[0, 1, 0, 0]) == pytest.approx(activation)

    def test_a_unit_without_places_sees_whatever_reaches_it(self):
        model, (images, _) = network(), data()
        got = fit(model, layers=["linear"]).exemplars(Filter("linear", 2))
        # A step of two leaves out the last row and column.
        assert all(map(torch.equal, PictureCrops(model, images).of(got), images[list(got.images), :, :7, :7]))

    @pytest.mark.parametrize("kind", ["tensor", "data set", "function", "arrays"])
    def test_pictures_by_number(self, kind):
        images, labels = data()
        pictures = {
            "tensor": images,
            "data set": torch.utils.data.TensorDataset(images, labels),
            "function": lambda number: images[number],
            "arrays": images.numpy(),
        }[kind]
        model = network()
        got = fit(model).exemplars(Filter("second", 3))
        expected = PictureCrops(model, images).of(got)
        assert all(map(torch.equal, PictureCrops(model, pictures).of(got), expected))

    def test_what_is_refused(self):
        model = network()
        got = fit(model).exemplars(Filter("second", 3))
        with pytest.raises(InputError, match=r"none with number \d+. Give the data that the reference was fitted on"):
            PictureCrops(model, [data()[0][0]]).of(got)
        with pytest.raises(InputError, match="as tensors"):
            PictureCrops(model, lambda number: f"{number}.png").of(got)
