"""What each kind of file says in JSON: all of it, or in a file of tensors the description beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict


class NoContent(TypedDict):
    """Tensors alone, which say everything."""


class FilterCounts(TypedDict):
    """The filters that columns of tensors belong to.

    Attributes:
        filters: How many each layer has, in the order of the columns.
        parts: Names of the slices of those layers whose slices have names.
        bias: Whether a filter has its entry of the layer's bias as one of its weights.
    """

    filters: Mapping[str, int]
    parts: Mapping[str, list[str]]
    bias: bool


class TailContent(TypedDict):
    """Which largest values of each filter are kept.

    Attributes:
        fraction: Share of the images.
        total: Images that were expected.
    """

    fraction: float
    total: int | None


class ExemplarsContent(TypedDict):
    """Images in which filters are most active.

    Attributes:
        k: Images of each filter, at most.
        classes: How many images there are of each class.
        names: Names of the images, by number, where they are known.
    """

    k: int
    classes: Mapping[int, int]
    names: Mapping[int, str]


class ReferenceContent(TypedDict):
    """What every filter usually does.

    Attributes:
        count: Images that it was taken on.
        layers: How many filters each layer has, in the order of the columns.
        parts: Names of the slices of those layers whose slices have names.
        bias: Whether a filter has its entry of the layer's bias as one of its weights.
        digests: Of each parameter and buffer of the model, by name.
        loss: Name of the loss.
        tail: Which largest values are kept; null for none.
        exemplars: Images in which filters are most active; null for none.
    """

    count: int
    layers: Mapping[str, int]
    parts: Mapping[str, list[str]]
    bias: bool
    digests: Mapping[str, str]
    loss: str
    tail: TailContent | None
    exemplars: NotRequired[ExemplarsContent | None]


class TraceContent(TypedDict):
    """Where class scores were traced back to.

    Attributes:
        shape: Of the input.
        sizes: Of the feature maps of each layer.
        through: Layer, index and part of the filter that the trace of each image was restricted to, if it was.
    """

    shape: list[int]
    sizes: Mapping[str, list[int]]
    through: NotRequired[list[tuple[str, int, str]]]


class BanditContent(TypedDict):
    """Every trial of one weight.

    Attributes:
        values: What each arm stands for.
        arms: Arm of each trial.
        rewards: Reward of each trial.
    """

    values: list[float]
    arms: list[int]
    rewards: list[float]


class WeightSearchContent(TypedDict):
    """Weights of a trace that were learned, and how.

    Attributes:
        weights: The best value of each.
        history: Every trial, by weight.
    """

    weights: Mapping[str, float]
    history: Mapping[str, BanditContent]


class DiagnosisContent(TypedDict):
    """Which channels each class relies on.

    Attributes:
        layer: Name of the layer.
        settings: How it was made.
        digests: Of each parameter and buffer of the model, by name.
    """

    layer: str
    settings: Mapping[str, Any]
    digests: Mapping[str, str]


class ChangeContent(TypedDict):
    """What became of one tensor.

    Attributes:
        dtype: Its type.
        shape: Its shape.
        changed: How many of its numbers are others now.
        largest: Largest change of one of them.
        before: Digest of its bytes in the base.
        after: Digest of its bytes in the treated model.
    """

    dtype: str
    shape: list[int]
    changed: int
    largest: float
    before: str
    after: str


class PatchContent(TypedDict):
    """What turns one state of a model's weights into another.

    Attributes:
        base: Digests of the model that it is put on, by tensor.
        treated: Digests of the model that it makes.
        changes: Of each tensor that changes; the tensor of the same name holds the bits that do.
        about: Where it comes from.
    """

    base: Mapping[str, str]
    treated: Mapping[str, str]
    changes: Mapping[str, ChangeContent]
    about: NotRequired[Mapping[str, Any]]


class PredictionsContent(TypedDict):
    """Predictions for held-out images.

    Attributes:
        labels: True class of each.
        predictions: Predicted class of each.
        confidence: Softmax probability of the prediction.
        loss: Mean cross entropy in nats.
        classes: Classes of the model.
    """

    labels: list[int]
    predictions: list[int]
    confidence: list[float]
    loss: float
    classes: int


class TreatmentContent(TypedDict):
    """What came of a treatment.

    Attributes:
        patch: File of the patch, in the same folder.
        treated: Fingerprint of the treated model.
        before: What the untreated model predicts.
        after: What the treated model predicts.
        history: One row per epoch, 0 for the untreated model.
        weights: Weight of each constraint in the loss.
        best_epoch: The epoch whose weights the treated model has.
        selected_on: What chose it.
    """

    patch: str
    treated: str
    before: PredictionsContent
    after: PredictionsContent
    history: list[Mapping[str, float]]
    weights: Mapping[str, float]
    best_epoch: int
    selected_on: Literal["validation", "held-out"]


class VerdictContent(TypedDict):
    """What the judging images say.

    Attributes:
        status: Whether it is kept.
        reason: Why, in a sentence.
        cured: Which of the judging mistakes are cured.
        broken: Which of the judging right images are broken.
        p_value: Of McNemar's exact test, two-sided.
    """

    status: Literal["kept", "refused", "too few"]
    reason: str
    cured: list[bool]
    broken: list[bool]
    p_value: float


class AttemptContent(TypedDict):
    """The budget of a cure, spent on other numbers.

    Attributes:
        name: Which numbers.
        numbers: How many.
        size: Norm of the change as a share of theirs.
        verdict: What the judging images say.
    """

    name: str
    numbers: int
    size: float | None
    verdict: VerdictContent


class CureContent(TypedDict):
    """A change of few filters, kept or refused.

    Attributes:
        verdict: What the judging images say.
        filters: Layer, index and part of each filter that could be changed; none where something else was.
        changes: Norm of each one's change as a share of its own; 0 for all but the first where that was changed alone.
        alternatives: The same budget spent on other numbers.
        parts: Places of the images that served to learn, to choose and to judge, of mistakes and of right images.
        context: Model's fingerprint, settings, what was changed, and counts.
        predicted: What the changed model says of the judging images.
    """

    verdict: VerdictContent
    filters: list[tuple[str, int, str]]
    changes: list[float | None]
    alternatives: list[AttemptContent]
    parts: Mapping[str, Mapping[str, list[int]]]
    context: Mapping[str, Any]
    predicted: Mapping[str, list[int]]


class SavedCureContent(CureContent):
    """A change of few filters, kept or refused, and the file of its patch.

    Attributes:
        patch: File of the patch, in the same folder; null where the cure was refused.
        treated: Fingerprint of the cured model; likewise.
    """

    patch: str | None
    treated: str | None


class CurveContent(TypedDict):
    """What becomes of images as more and more filters are changed.

    Attributes:
        intervention: What is done to the filters.
        context: Model's fingerprint and settings.
    """

    intervention: str
    context: Mapping[str, Any]


class MistakeKindsContent(TypedDict):
    """What mistakes may come from.

    Attributes:
        thresholds: By which the kinds are told apart.
    """

    thresholds: Mapping[str, float]


class ColumnContent(TypedDict):
    """What one number per image says.

    Attributes:
        name: Of the column.
        unit: In words; empty for a pure number.
        better: Which end is the better one; empty where none is.
        description: One sentence.
    """

    name: str
    unit: str
    better: Literal["higher", "lower", ""]
    description: str


class FailureContent(TypedDict):
    """A method or a metric that raised on an image.

    Attributes:
        method: Name of the method.
        image: Number of the image.
        step: "maps", or the name of the metric.
        message: What was raised.
    """

    method: str
    image: int
    step: str
    message: str


class ComparisonContent(TypedDict):
    """Scores of methods by columns on images.

    Attributes:
        methods: Names of the methods.
        columns: What is measured.
        failures: What went wrong.
        kept: Numbers of the images whose pictures and maps are kept.
        context: Versions, fingerprint of the model, settings, seeds.
    """

    methods: list[str]
    columns: list[ColumnContent]
    failures: list[FailureContent]
    kept: list[int]
    context: Mapping[str, Any]


class ModelComparisonContent(FilterCounts):
    """What differs between the weights of two checkpoints, and in their losses.

    Attributes:
        norms: Names of the norms.
        context: Fingerprints and settings.
    """

    norms: NotRequired[list[str]]
    context: Mapping[str, Any]


class ImageDifferencesContent(FilterCounts):
    """What differs between two checkpoints on single images.

    Attributes:
        layers: The layers of the traces, from the last to the first, then "input".
        refused: What could not be made, by name, and why.
        context: Settings.
    """

    layers: list[str]
    refused: Mapping[str, str]
    context: Mapping[str, Any]


class TriageContent(FilterCounts):
    """All mistakes of a set, sorted.

    Attributes:
        context: Model's fingerprint, settings and what was compared with what.
    """

    context: Mapping[str, Any]


class ChosenPictureContent(TypedDict):
    """One picture to annotate.

    Attributes:
        picture: Name of its file in the folder.
        file: Name of the image that it shows.
        label: True class.
        predicted: Class with the highest score.
        confidence: Softmax probability of the true class.
        width: Of the picture in pixels.
        height: Likewise.
    """

    picture: str
    file: str
    label: int
    predicted: int
    confidence: float
    width: int
    height: int


class PicturesContent(TypedDict):
    """Pictures to annotate, and which image each shows.

    Attributes:
        pictures: By class, least confident first.
    """

    pictures: list[ChosenPictureContent]


class PieceContent(TypedDict):
    """A part of a figure's work.

    Attributes:
        name: Of the work.
        places: Of its images.
    """

    name: str
    places: list[int]
