from dataclasses import replace

import pytest
import torch
from report.compare.small_comparisons import small_comparison, small_images, small_net

from captum_paramsal.attr import POTSaliency
from captum_paramsal.reference import Reference
from captum_paramsal.report.compare.caveats import TAILS, TailedFilters, comparison_caveats
from captum_paramsal.report.compare.figures import map_pictures
from captum_paramsal.sources import LabelledTensors, SourceBatch
from captum_paramsal.sources.pictures import encode_tensor
from captum_paramsal.viz import decoded


def test_boxes_that_overlap_are_handed_over_as_they_are():
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    boxes = [torch.tensor([[2, 3, 8, 9], [5, 5, 12, 12]]), torch.tensor([[0, 0, 6, 12], [6, 0, 12, 12]])]
    source = LabelledTensors(images, torch.zeros(2, dtype=torch.long), boxes=boxes)
    comparison = small_comparison(source, methods=["random"], metrics=["iou"]).comparison
    whole = comparison.column("iou")[comparison.methods.index("whole image")]
    # The box of both together would have 90 and 144 of the image's 144 pixels.
    assert sorted(whole.tolist()) == [pytest.approx(49 / 144), pytest.approx(1 / 2)]


class SeveralSizes(LabelledTensors):
    """Images of which every second one is larger, each in a batch of its own."""

    def batches(self, batch_size, positions=None):
        del batch_size
        for batch in super().batches(1, positions):
            larger = batch.positions[0] % 2
            inputs = batch.inputs.repeat_interleave(2, dim=3) if larger else batch.inputs
            yield SourceBatch(batch.positions, inputs, batch.labels)


@pytest.mark.usefixtures("undrawn")
def test_images_of_several_sizes(tmp_path):
    source = small_images(6, boxes=False)
    source.__class__ = SeveralSizes
    found = small_comparison(source, metrics=["deletion", "sparsity"], methods=["saliency", "grad_cam"], shown=6)
    widths = {picture.shape[2] for picture in found.comparison.pictures}
    assert widths == {12, 24}
    assert not found.comparison.failures
    assert not found.comparison.column("deletion")[:2].isnan().any()
    for number, picture, maps in zip(range(6), found.comparison.pictures, found.comparison.maps, strict=True):
        position = int(found.items[number].name.split()[1])
        assert picture.shape[2] == maps.shape[2] == 12 * (1 + position % 2)
    assert found.write(tmp_path).exists()


@pytest.fixture(scope="module")
def reference():
    generator = torch.Generator().manual_seed(2)
    batches = [(torch.rand(50, 3, 12, 12, generator=generator), torch.arange(50) % 3) for _ in range(8)]
    return Reference.fit(small_net(), batches, tail=0.1, show_progress=False)


def test_why_a_map_of_tails_shows_nothing(reference):
    images = small_images(12)
    found = small_comparison(images, reference, methods=[TAILS, "saliency"], metrics=["sparsity"])
    comparison = found.comparison
    places = {item.name: place for place, item in enumerate(images.items)}
    (batch,) = images.batches(12, [places[item.name] for item in found.items])
    scores = POTSaliency(small_net(), reference).attribute(batch.inputs, target=comparison.targets)
    silent = int((scores == 0).all(dim=1).sum())
    assert 0 < silent < 12
    # The network has 10 filters, all of which are boosted.
    told = [remark for remark in found.caveats if TAILS in remark]
    assert len(told) == 2
    assert told[0].startswith(f"On {silent} image")
    assert "no filter of the model exceeds its threshold" in told[0]
    assert told[1].startswith(f"On {12 - silent} images no more than 10 filters exceed their threshold")
    assert not any("degenerate map" in remark for remark in found.caveats)


def test_tails_are_counted_in_images_of_any_size(reference):
    images = [*torch.rand(5, 3, 12, 12, generator=torch.Generator().manual_seed(4))]
    comparison = replace(small_comparison(small_images(5), shown=0).comparison, methods=(TAILS, "b", "c"))
    whole = TailedFilters.of(comparison, small_net(), reference, images, 2)
    single = TailedFilters.of(comparison, small_net(), reference, images, 1)
    assert torch.equal(whole.counts, single.counts)
    assert whole.boosted == 10
    images[1] = images[1].repeat_interleave(2, dim=2)
    several = TailedFilters.of(comparison, small_net(), reference, images, 2)
    assert several.counts[[0, 2, 3, 4]].tolist() == whole.counts[[0, 2, 3, 4]].tolist()
    assert TailedFilters.of(small_comparison(shown=0).comparison, small_net(), reference, images, 2) is None


def test_other_degenerate_maps_are_counted_apart():
    comparison = small_comparison(shown=0).comparison
    flags = torch.zeros_like(comparison.degenerate)
    flags[0, :3], flags[1, 0] = True, True
    some = replace(comparison, methods=(TAILS, *comparison.methods[1:]), degenerate=flags)
    counts = torch.tensor([0, 0, 30, 30, 30, 30, 30, 2])
    remarks = comparison_caveats(some, torch.ones(8).bool(), TailedFilters(counts, 10))
    starts = [
        "There are 8 mistakes",
        "There are no correct",
        "On 2 images",
        "On 1 image no more",
        f"{TAILS} gave 1 deg",
    ]
    starts.append(f"{comparison.methods[1]} gave 1 degenerate map, ")
    assert len(remarks) == len(starts)
    assert all(remark.startswith(start) for remark, start in zip(remarks, starts, strict=True))


def test_large_maps_keep_their_sign_when_they_are_shrunk():
    """A checkerboard with a little more red than blue is red on the page, not purple."""
    board = torch.tensor([1.0, -0.8]).repeat(200, 200)
    board[1::2] = board[1::2].roll(1, dims=1)
    maps = torch.stack([board, -board])
    shown = [decoded(one.data, one.mime) for one in map_pictures([torch.ones(3, 200, 400)], [maps])[0]]
    for picture, sign in zip(shown, (1, -1), strict=True):
        assert picture.shape == (3, 80, 160)
        difference = sign * (picture[0] - picture[2])
        assert float(difference.min()) > 0.2


def test_drawn_pictures_keep_the_colour_of_each_pixel():
    board = torch.zeros(3, 128, 128)
    board[0, ::2], board[2, 1::2] = 1.0, 1.0
    one = encode_tensor(board)
    seen = decoded(one.data, one.mime)
    assert one.mime == "image/jpeg"
    assert float((seen[0, ::2] - seen[2, ::2]).mean()) > 0.8
    assert float((seen[2, 1::2] - seen[0, 1::2]).mean()) > 0.8
