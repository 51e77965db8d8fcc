import numpy as np
import pytest
import torch

from captum_paramsal.errors import InputError
from captum_paramsal.viz import to_png
from captum_paramsal.viz.layer_neurons import LayerNeurons
from captum_paramsal.viz.neurons import neurons_plot

OUTPUT = {"channel": [5], "y": [0], "x": [0], "score": [-3.0], "size": (10, 1, 1)}
VECTOR = {"channel": [9, 0, 3], "y": [0] * 3, "x": [0] * 3, "score": [1.0, 3.0, 4.0], "size": (20, 1, 1)}
MAP = {
    "channel": torch.tensor([3, 3, 7, 2]),
    "y": torch.tensor([1, 1, 1, 4]),
    "x": torch.tensor([0, 2, 2, 3]),
    "score": torch.tensor([1.0, 1.0, 5.0, 3.0]),
    "size": (8, 5, 4),
}
PIXELS = {"y": np.array([0, 7]), "x": np.array([0, 15]), "score": np.array([2.0, 1.0]), "size": (3, 8, 16)}
NONE = {"channel": [], "y": [], "x": [], "score": [], "size": (8, 5, 4)}
LAYERS = {"output": OUTPUT, "fc": VECTOR, "conv2": MAP, "conv1": NONE, "input": PIXELS}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_neurons_are_gathered_by_place():
    layer = LayerNeurons.of("conv2", MAP)
    assert layer.places.tolist() == [[1, 0], [1, 2], [4, 3]]
    assert layer.votes.tolist() == [1, 2, 1]
    assert layer.support.tolist() == pytest.approx([0.2, 1.0, 0.6])
    assert layer.channels == pytest.approx({7: 0.5, 2: 0.3, 3: 0.2})
    assert list(layer.channels) == [7, 2, 3]
    assert layer.count == 4


def test_neurons_of_a_vector_are_places_of_their_own():
    layer = LayerNeurons.of("fc", VECTOR)
    assert layer.is_vector
    assert layer.places.tolist() == [[0, 0], [0, 3], [0, 9]]
    assert layer.votes.tolist() == [1, 1, 1]
    assert list(layer.channels) == [3, 0, 9]


def test_a_negative_class_score():
    layer = LayerNeurons.of("output", OUTPUT)
    assert layer.support.tolist() == [1.0]
    assert layer.channels == {5: 0.0}


def test_what_is_told_of_each_layer():
    axes = neurons_plot(LAYERS, names={"output": {5: "tabby"}})
    assert texts(axes)[:15] == [
        *("output", "1 neuron of 10", "tabby"),
        *("fc", "3 neurons of 20", "numbers 3 (50 %), 0 (38 %), 9 (12 %)"),
        *("conv2", "4 neurons: 3 of 8 channels, 3 of 5 x 4 places", "channels 7 (50 %), 2 (30 %), 3 (20 %)"),
        *("conv1", "no neurons", ""),
        *("input", "2 of 8 x 16 pixels", ""),
    ]


def test_three_channels_at_most_and_no_line_too_long():
    many = {key: list(range(6)) for key in ("channel", "y", "x")} | {"score": [1.0] * 6, "size": (6, 6, 6)}
    axes = neurons_plot({"a" * 99: many}, names={"a" * 99: dict.fromkeys(range(6), "tabby cat " * 9)})
    assert all(len(text) <= 60 for text in texts(axes))
    assert texts(axes)[0].endswith("…")
    assert texts(neurons_plot({"a": many}))[2] == "channels 0 (17 %), 1 (17 %), 2 (17 %)"


def dots(axes, number):
    found = axes.collections[number]
    return np.asarray(found.get_offsets()), np.asarray(found.get_sizes()), np.asarray(found.get_facecolor())


def test_dots_stand_where_the_neurons_do():
    axes = neurons_plot({"conv2": MAP})
    frame = axes.patches[-1].get_bbox()
    assert frame.width / frame.height == pytest.approx(4 / 5)
    offsets, sizes, colors = dots(axes, 0)
    places = (offsets - (frame.x0, frame.y0)) / (frame.width / 4) - 0.5
    # The largest Ω is drawn last, over the others.
    assert places == pytest.approx(np.array([[0, 1], [3, 4], [2, 1]]), abs=1e-9)
    assert sizes == pytest.approx(sizes[0] * np.array([1, 1, 2]))
    brightness = colors[:, :3] @ (0.299, 0.587, 0.114)
    assert (np.diff(brightness) < -0.1).all()


def test_one_place_has_the_same_place_in_maps_of_any_size():
    def centre(side):
        layer = {"channel": [0], "y": [side // 2], "x": [side // 2], "score": [1.0], "size": (1, side, side)}
        return dots(neurons_plot({"a": layer}), 0)[0]

    assert centre(3) == pytest.approx(centre(113))


def test_dots_of_a_vector_stand_in_order_of_their_numbers():
    axes = neurons_plot({"fc": VECTOR})
    (line,) = axes.lines
    start, end = line.get_xdata()
    offsets, _, _ = dots(axes, 0)
    assert sorted((offsets[:, 0] - start) / (end - start) * 20 - 0.5) == pytest.approx([0, 3, 9])
    assert set(offsets[:, 1]) == set(line.get_ydata())


def test_dots_do_not_outgrow_their_map():
    many = {"channel": list(range(400)), "y": [0] * 400, "x": [0] * 400, "score": [1.0] * 400, "size": (400, 2, 2)}
    _, sizes, _ = dots(neurons_plot({"conv2": MAP, "conv1": many}), 1)
    assert sizes.tolist() == pytest.approx([60])
    _, sizes, _ = dots(neurons_plot({"conv2": MAP, "conv1": many}), 0)
    assert min(sizes) == 1.5


def test_the_image_lies_under_every_map():
    axes = neurons_plot(LAYERS, image=torch.rand(3, 300, 600))
    assert len(axes.images) == 3
    shown = np.asarray(axes.images[0].get_array())
    assert max(shown.shape) == 160
    assert 0.6 < shown.min() < shown.max() <= 1
    left, right, bottom, top = axes.images[0].get_extent()
    assert right - left > 0
    assert bottom > top


def test_figure_grows_with_the_layers():
    def inches(count, **options):
        layers = {f"conv{number}": MAP for number in range(count)}
        return tuple(neurons_plot(layers, **options).figure.get_size_inches())

    few, full, more = inches(3), inches(12), inches(13)
    assert few[0] == full[0] == more[0] / 2
    assert few[1] < more[1] < full[1]
    assert inches(12, columns=3)[0] == 3 * few[0]
    assert inches(3, title="why")[1] > few[1]


def test_layers_go_down_the_columns():
    axes = neurons_plot(dict.fromkeys("abcd", MAP), columns=2)
    a, b, c, d = (text.get_position() for text in axes.texts if len(text.get_text()) == 1 and text.get_text() in "abcd")
    assert a[0] == b[0] < c[0] == d[0]
    assert a[1] == c[1] < b[1] == d[1]


def test_it_can_be_written():
    assert to_png(neurons_plot(LAYERS, title="why")).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({}, "at least one layer .* got 0"),
        ({"conv": {"y": [0], "score": [1.0]}}, "of layer 'conv', got no x and no size"),
        ({"conv": MAP | {"y": [0]}}, r"layer 'conv', got .*'y': \(1,\)"),
        ({"conv": MAP | {"size": (8, 5)}}, r"got .* and \(8, 5\)"),
        ({"conv": MAP | {"size": (8, 4, 4)}}, "`y` from 0 to 3 in layer 'conv', got 1 to 4"),
        ({"conv": MAP | {"size": (7, 5, 4)}}, "`channel` from 0 to 6 in layer 'conv', got 2 to 7"),
        ({"conv": MAP | {"x": [-1, 0, 0, 0]}}, "`x` from 0 to 3 in layer 'conv', got -1 to 0"),
        ({"conv": MAP | {"score": [1.0, 2.0, torch.nan, 0.0]}}, "finite scores in layer 'conv', got nan"),
    ],
)
def test_what_cannot_be_drawn(layers, message):
    with pytest.raises(InputError, match=message):
        neurons_plot(layers)


def test_no_columns():
    with pytest.raises(InputError, match="`columns` of at least 1, got 1 and 0"):
        neurons_plot({"conv": MAP}, columns=0)
