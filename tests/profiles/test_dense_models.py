"""Segmentation and detection: a class at a place, or a loss per example of its own, as in the batch-of-one loop."""

import pytest
import torch
from cases.images import image
from oracles.deviation import assert_exact
from oracles.parameter_saliency import cross_entropy, profile_loop
from oracles.weights import seeded
from torch import nn
from torch.nn import functional
from torchvision.models import detection, segmentation
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCN, FCNHead
from torchvision.models.segmentation.lraspp import LRASPP

from captum_paramsal import CutOffLayersWarning, ParameterSaliency, Reference
from captum_paramsal.errors import ModelError

CLASSES = 5
# The auxiliary head, whose scores nothing uses where one place of the main output is asked about.
pytestmark = pytest.mark.filterwarnings("ignore::captum_paramsal.CutOffLayersWarning")


def backbone(**returned):
    def block(before, after):
        return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU())

    return IntermediateLayerGetter(nn.Sequential(block(3, 6), block(6, 8)), returned)


def published(name):
    return lambda: segmentation.__dict__[name](weights=None, weights_backbone=None, num_classes=CLASSES)


SEGMENTATION = {
    "FCN": lambda: FCN(backbone(**{"0": "aux", "1": "out"}), FCNHead(8, CLASSES), FCNHead(6, CLASSES)),
    "DeepLab": lambda: DeepLabV3(backbone(**{"0": "aux", "1": "out"}), DeepLabHead(8, CLASSES), FCNHead(6, CLASSES)),
    "LRASPP": lambda: LRASPP(backbone(**{"0": "low", "1": "high"}), 6, 8, CLASSES, inter_channels=12),
    **{
        name: published(name)
        for name in ("fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")
    },
}


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[pytest.mark.slow] * ("_" in n)) for n in SEGMENTATION])
def segmenter(request):
    return seeded(SEGMENTATION[request.param](), image(8, 3, 32, 32).float()).double()


def out(returned):
    return returned["out"]


def both(returned):
    return torch.stack([returned["out"], returned["aux"]], dim=1)


class Part(nn.Module):
    """A model with what is taken of its result, for the oracle."""

    def __init__(self, model, output):
        super().__init__()
        self.model, self.output = model, output

    def forward(self, x):
        return self.output(self.model(x))


def assert_loop(saliency, x, target, exact_target, loss, *extra, output=None):
    """Scores of all images, together and one by one, against the loop."""
    model = saliency.profiler.model
    prefix = "" if output is None else "model."
    asked = model if output is None else Part(plain(model), output)
    runs = {size: saliency.attribute(x, target, extra or None, internal_batch_size=size) for size in (None, 1)}
    layers = [prefix + name for name in saliency.filters.split(runs[1])]
    exact = profile_loop(asked, x, exact_target, layers, loss=loss, additional_forward_args=extra)
    exact = {name.removeprefix(prefix): profile for name, profile in exact.items()}
    for size, scores in runs.items():
        assert_exact(f"internal_batch_size={size}", saliency.filters.split(scores), exact)
    return exact


def plain(model):
    """The model itself, of which `output=` makes a view."""
    return getattr(type(model), "_viewed", model)


def at_places(scores, places):
    chosen = [of_image[(slice(None), *place)] for of_image, (_, *place) in zip(scores, places.tolist(), strict=True)]
    return cross_entropy(torch.stack(chosen), places[:, 0])


def per_pixel(scores, maps):
    return functional.cross_entropy(scores, maps, reduction="none").mean(dim=(1, 2))


def with_auxiliary(scores, maps):
    return per_pixel(scores[:, 0], maps) + 0.5 * per_pixel(scores[:, 1], maps)


def test_a_class_at_a_pixel(segmenter):
    places = [(2, 5, 21), (0, 31, 1)]
    saliency = ParameterSaliency(segmenter, output=out)
    parts = assert_loop(saliency, image(2, 3, 32, 32), places, torch.tensor(places), at_places, output=out)
    # The convolutions of the class scores are none of the default layers.
    heads = {"classifier.4", "classifier.low_classifier", "classifier.high_classifier"}
    convolutions = {name for name, layer in segmenter.named_modules() if isinstance(layer, nn.Conv2d)}
    assert convolutions - set(parts) == convolutions & heads


def test_a_loss_over_all_pixels(segmenter):
    maps = torch.randint(CLASSES, (2, 32, 32), generator=torch.Generator().manual_seed(0))
    saliency = ParameterSaliency(segmenter, output=out, loss=per_pixel)
    assert_loop(saliency, image(2, 3, 32, 32), maps, maps, per_pixel, output=out)


def test_a_loss_over_both_outputs(segmenter):
    if getattr(segmenter, "aux_classifier", None) is None:
        pytest.skip("it has one output")
    maps = torch.randint(CLASSES, (2, 32, 32), generator=torch.Generator().manual_seed(0))
    saliency = ParameterSaliency(segmenter, output=both, loss=with_auxiliary)
    parts = assert_loop(saliency, image(2, 3, 32, 32), maps, maps, with_auxiliary, output=both)
    assert parts["aux_classifier.0"].any()


def test_the_auxiliary_head_is_cut_off_from_a_pixel():
    model = seeded(SEGMENTATION["FCN"](), image(8, 3, 32, 32).float()).double()
    with pytest.warns(CutOffLayersWarning, match="'aux_classifier.0', 'aux_classifier.4'"):
        ParameterSaliency(model, output=out).attribute(image(1, 3, 32, 32), (0, 1, 1))
    with pytest.raises(ModelError, match=r"got OrderedDict. Give `output=`.* `lambda returned: returned\['out'\]`"):
        ParameterSaliency(model).attribute(image(1, 3, 32, 32), (0, 1, 1))


class BoxScores(nn.Module):
    """Class scores of given boxes, ``(N, C, K)``, by the layers of a Faster R-CNN."""

    def __init__(self, detector):
        super().__init__()
        heads = detector.roi_heads
        self.backbone = detector.backbone
        self.pool, self.head, self.scores = heads.box_roi_pool, heads.box_head, heads.box_predictor.cls_score

    def forward(self, images, boxes):
        sizes = [tuple(images.shape[-2:])] * len(images)
        features = self.backbone(images)
        maps = {"0": features} if isinstance(features, torch.Tensor) else features
        pooled = self.pool(maps, list(boxes), sizes)
        return self.scores(self.head(pooled)).unflatten(0, boxes.shape[:2]).movedim(1, 2)


def small_detector():
    features = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()
    )
    features.out_channels = 8
    anchors = detection.anchor_utils.AnchorGenerator(((16, 32),), ((1.0,),))
    head = detection.faster_rcnn.TwoMLPHead(8 * 49, 20)
    predictor = detection.faster_rcnn.FastRCNNPredictor(20, CLASSES)
    return FasterRCNN(features, rpn_anchor_generator=anchors, box_head=head, box_predictor=predictor)


DETECTION = {
    "small": small_detector,
    "fasterrcnn_mobilenet_v3_large_320_fpn": lambda: detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES
    ),
}


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[pytest.mark.slow] * ("_" in n)) for n in DETECTION])
def detector(request):
    model = BoxScores(DETECTION[request.param]())
    return seeded(model, image(8, 3, 64, 64).float(), boxes(8).float()).double()


def boxes(count):
    corners = torch.tensor([[4.0, 4, 40, 50], [20, 10, 60, 60], [0, 0, 30, 34]], dtype=torch.float64)
    return corners.repeat(count, 1, 1) + torch.arange(count)[:, None, None]


def test_a_class_of_a_box(detector):
    places = [(2, 0), (0, 1), (4, 2)]
    saliency = ParameterSaliency(detector)
    parts = assert_loop(saliency, image(3, 3, 64, 64), places, torch.tensor(places), at_places, boxes(3))
    assert "scores" not in parts
    everything = ParameterSaliency(detector, layers="*")
    parts = assert_loop(everything, image(3, 3, 64, 64), places, torch.tensor(places), at_places, boxes(3))
    assert {"head.fc6", "head.fc7", "scores"} <= set(parts)


def test_a_loss_over_all_boxes(detector):
    def per_box(scores, labels):
        return functional.cross_entropy(scores, labels, reduction="none").mean(dim=1)

    labels = torch.tensor([[0, 1, 2], [3, 4, 0], [1, 1, 2]])
    saliency = ParameterSaliency(detector, loss=per_box)
    assert_loop(saliency, image(3, 3, 64, 64), labels, labels, per_box, boxes(3))
    reference = Reference.fit(
        detector, [((image(3, 3, 64, 64), boxes(3)), labels)], loss=per_box, tail=None, show_progress=False
    )
    assert reference.count == 3
