"""The way from a class through a filter to the pixels, in one picture."""

import pytest
import torch
from matplotlib.colors import to_hex
from torch import nn

from captum_paramsal import DiscernibleNeurons, Filter, InputError, viz
from captum_paramsal.viz.paths import _few, _Line

PICTURE = torch.rand(3, 12, 16, generator=torch.Generator().manual_seed(0))


def network(depth=2):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))


def traced(item=None, depth=2, **options):
    """Two images through a filter that the first one's trace passes, or through another."""
    model = network(depth)
    tracer, images = DiscernibleNeurons(model, linear_top_k=2, places=3), torch.stack([PICTURE, PICTURE.flip(2)])
    found = tracer.trace(images, target=1).layers["2"].of_image(0)
    item = item or Filter("2", int(found.channel[0]))
    return tracer.trace(images, target=1, through=item, **options)


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_class_layers_filter_and_pixels():
    trace = traced()
    item, places = trace.restriction.filters[0], trace.filter_places(0)
    axes = viz.path_plot(
        trace, PICTURE, names=["a", "$b", "c", "d"], label=0, confidence=0.834, fields=[((0, 4), (1, 5))]
    )
    told = words(axes)
    assert told[0] == r"seen as \$b, is a"
    assert told[1].startswith("score ")
    assert told[1].endswith("confidence 83 %")
    assert told[3:13:2] == ["output", "6", str(item), "0", "input"]
    counts = [int((found.image == 0).sum()) for found in trace.layers.values()]
    whole = [int(count[0]) for count in trace.restriction.counts.values()]
    assert told[4:14:2] == [f"{kept} of {all_}" for kept, all_ in zip(counts, whole, strict=True)]
    guilty = [text.get_text() for text in axes.texts if to_hex(text.get_color()).upper() == viz.PALETTE[1]]
    assert guilty == [str(item), f"{counts[2]} of {whole[2]}"]
    assert f"{len(places)} of 12 x 16 places" in " ".join(told[-2].split())
    assert "its strongest place, 5 x 5 pixels" in " ".join(told[-1].split())
    assert f"{len(trace.points(0, outliers=True))} pixels at the end" in " ".join(told[-1].split())
    dots = [len(found.get_offsets()) for found in axes.collections]
    assert dots == [len(places), len(trace.points(0, outliers=True))]


def test_the_filters_map_lies_under_its_places():
    trace = traced()
    activation = torch.rand(12, 16)
    plain, shaded = viz.path_plot(trace, PICTURE), viz.path_plot(trace, PICTURE, activation=activation)
    assert (len(plain.images), len(shaded.images)) == (1, 2)
    assert float(shaded.images[1].get_array().max()) == 1
    with pytest.raises(InputError, match=r"the filter's map \(12, 16\) of finite numbers, got \(6, 8\)"):
        viz.path_plot(trace, PICTURE, activation=activation[::2, ::2])


def test_a_filter_that_is_not_reached_is_told_in_words():
    model = network()
    seen = DiscernibleNeurons(model, linear_top_k=2, places=3).trace(PICTURE[None], target=1).layers["2"]
    unseen = next(channel for channel in range(6) if channel not in seen.channel.tolist())
    axes = viz.path_plot(traced(Filter("2", unseen)), PICTURE, names={1: "b"})
    told = [" ".join(text.split()) for text in words(axes)]
    assert told[-1].startswith(f"No way through 2[{unseen}]: the trace keeps {len(seen)} neurons of 2, none of")
    assert "That does not clear it" in told[-1]
    assert f"0 of {len(seen)}" in told
    assert not axes.collections


def test_a_picture_in_another_resolution_and_another_image():
    trace = traced()
    small, large = viz.path_plot(trace, PICTURE[:, ::2, ::2]), viz.path_plot(trace, PICTURE)
    for one, other in zip(small.collections, large.collections, strict=True):
        torch.testing.assert_close(torch.tensor(one.get_offsets()), torch.tensor(other.get_offsets()))
    viz.path_plot(trace, PICTURE.flip(2), 1, fields=[None] * len(trace.filter_places(1)))


def test_of_many_layers_those_near_the_filter_are_told():
    lines = [_Line(str(number), 1, 1, guilty=number == 20) for number in range(30)]
    shown = _few(lines)
    assert [line.name or -line.left_out for line in shown] == ["0", -14, *map(str, range(15, 25)), -4, "29"]
    assert _few(lines[:12]) == lines[:12]
    axes = viz.path_plot(traced(depth=16), PICTURE)
    assert any(text.endswith("more layers") for text in words(axes))


@pytest.mark.parametrize("image", [-1, 2])
def test_no_such_image(image):
    with pytest.raises(InputError, match=rf"the number of one, got \(2, 3, 12, 16\) and {image}"):
        viz.path_plot(traced(), PICTURE, image)


def test_a_whole_trace_is_refused():
    whole = DiscernibleNeurons(network()).trace(PICTURE[None])
    with pytest.raises(InputError, match="goes through a filter, got a whole one"):
        viz.path_plot(whole, PICTURE)


def test_a_sequence_has_no_picture():
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))
    trace = DiscernibleNeurons(model).trace(torch.rand(1, 3, 20), through=Filter("0", 0))
    with pytest.raises(InputError, match="a trace of images"):
        viz.path_plot(trace, PICTURE)
