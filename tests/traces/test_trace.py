"""What a trace says of itself."""

import math

import pytest
import torch

from captum_paramsal import InputError, Trace
from captum_paramsal.traces import Neurons


def test_the_old_name_of_the_labels_is_read_with_a_warning():
    trace = Trace(layers={}, labels=torch.tensor([2, 0]), shape=(2, 3, 8, 8))
    with pytest.warns(DeprecationWarning, match=r"`Trace.targets` is now `Trace.labels`"):
        assert trace.targets is trace.labels


def traced(sizes, *places):
    """A trace that ends in these pixels of one image each, with nothing before them."""
    image = torch.tensor([number for number, group in enumerate(places) for _ in group])
    at = torch.tensor([one for group in places for one in group]).view(-1, len(sizes))
    rows = at[:, 0] if len(sizes) > 1 else torch.zeros_like(image)
    for dimension in range(1, len(sizes) - 1):
        rows = rows * sizes[dimension] + at[:, dimension]
    height = math.prod(sizes[:-1])
    none = torch.zeros(len(image))
    neurons = Neurons(image, 0 * image, rows, at[:, -1], none + 1, none, none, none, (1, height, sizes[-1]))
    return Trace({"input": neurons}, torch.zeros(len(places), dtype=torch.long), (len(places), 1, *sizes))


def middle_slowly(profile, even, outside=0.08):
    """Where 8 % of a heat map's mass along one dimension end, from the one side and from the other."""
    parts = [(1 - even) * one / sum(profile) + even / len(profile) for one in profile]
    ends = []
    for row in (parts, parts[::-1]):
        behind, place = 0.0, 0
        while behind + row[place] <= outside:
            behind += row[place]
            place += 1
        ends.append(place + (outside - behind) / row[place])
    return ends[0], len(parts) - ends[1]


def test_box_of_the_mass_with_even_votes():
    points = [(5, 6), (6, 6), (7, 9)], [(20, 3)], []
    trace = traced((24, 16), *points)
    boxes, heat = trace.boxes("mass"), trace.heatmap()
    for box, values, group in zip(boxes, heat.double(), points, strict=True):
        if not group:
            assert box.isnan().all()
            continue
        even = 14 / (14 + len(group))
        (x1, x2), (y1, y2) = (middle_slowly(values.sum(dim=way).tolist(), even) for way in (0, 1))
        assert box.tolist() == pytest.approx([x1, y1, x2, y2])
    assert trace.boxes()[:2].tolist() == [[6, 5, 10, 8], [3, 20, 4, 21]]


def test_many_points_are_hardly_moved_by_the_even_votes():
    group = [(y, x) for y in range(20, 40) for x in range(30, 45)]
    box = traced((64, 64), group).boxes("mass")[0]
    tight = traced((64, 64), group).boxes()[0]
    assert (box - tight).abs().max() < 4


@pytest.mark.parametrize("sizes", [(30,), (12, 14), (8, 10, 12)])
def test_boxes_of_mirrored_points_are_mirrored(sizes):
    generator = torch.Generator().manual_seed(0)
    group = [tuple(int(torch.randint(side, (), generator=generator)) for side in sizes) for _ in range(6)]
    turned = [tuple(side - 1 - at for side, at in zip(sizes, point, strict=True)) for point in group]
    near, far = traced(sizes, group).boxes("mass")[0].double().chunk(2)
    edges = torch.tensor(sizes[::-1], dtype=torch.float64)
    assert ((near >= 0) & (near < far) & (far <= edges)).all()
    there = torch.cat([edges - far, edges - near])
    torch.testing.assert_close(traced(sizes, turned).boxes("mass")[0], there, rtol=0, atol=1e-4)


def test_another_rule():
    with pytest.raises(InputError, match=r'`rule` "mass" or "points", got \'tight\''):
        traced((4, 4), [(1, 1)]).boxes("tight")


def selected(size, *rows):
    """A layer's neurons: image, channel, y, x of each."""
    image, channel, y, x = torch.tensor(rows, dtype=torch.long).reshape(-1, 4).T
    none = torch.zeros(len(image))
    return Neurons(image, channel, y, x, none, none, none, none, size)


def test_overlaps_are_those_of_the_sets():
    generator = torch.Generator().manual_seed(0)
    size, images = (3, 4, 5), 4
    places = [torch.unique(torch.randint(60, (count,), generator=generator)) for count in (40, 25)]
    chosen = [
        [(place % 3, *(int(one) for one in torch.unravel_index(each, size))) for place, each in enumerate(found)]
        for found in places
    ]
    first, second = (
        Trace({"layer": selected(size, *rows)}, torch.zeros(images, dtype=torch.long), (images, 1, 8, 8))
        for rows in chosen
    )
    shares = first.overlaps(second)["layer"]
    for image in range(3):
        a, b = ({row for row in rows if row[0] == image} for rows in chosen)
        assert shares[image] == len(a & b) / len(a | b)
    assert shares[3].isnan(), "no neuron in either"
    assert torch.equal(first.overlaps(first)["layer"][:3], torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize(
    "other",
    [
        Trace({"layer": selected((3, 4, 5))}, torch.zeros(2, dtype=torch.long), (2, 1, 8, 8)),
        Trace({"layer": selected((3, 4, 6))}, torch.zeros(1, dtype=torch.long), (1, 1, 8, 8)),
        Trace({"another": selected((3, 4, 5))}, torch.zeros(1, dtype=torch.long), (1, 1, 8, 8)),
    ],
    ids=["images", "size", "layer"],
)
def test_overlaps_of_other_ways_are_refused(other):
    trace = Trace({"layer": selected((3, 4, 5))}, torch.zeros(1, dtype=torch.long), (1, 1, 8, 8))
    with pytest.raises(InputError, match="two traces of as many images through the same layers"):
        trace.overlaps(other)
