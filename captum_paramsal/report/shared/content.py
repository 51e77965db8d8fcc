"""What the JSON of every report says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import NotRequired, TypedDict


class ModelContent(TypedDict):
    """Which model.

    Attributes:
        name: Of the model, or of its class.
        weights: Where its weights come from, in words; may be empty.
        fingerprint: Of its parameters and buffers, 16 hexadecimal digits.
    """

    name: str
    weights: str
    fingerprint: str


class ImagesContent(TypedDict):
    """Which images.

    Attributes:
        origin: Where they come from, in words; may be empty.
        preprocessing: How they were prepared; may be empty.
    """

    origin: str
    preprocessing: str


class ReferenceOrigin(TypedDict):
    """What filters usually do.

    Attributes:
        origin: Where that comes from, in words.
        images: Images that it was taken on; null where they are not counted.
        fitted_on_these_images: Whether these are the images of the report.
        fingerprint: Of the model that it was taken on.
        loss: Name of the loss.
        dead_filters: Filters that never varied.
    """

    origin: str
    images: int | None
    fitted_on_these_images: NotRequired[bool]
    fingerprint: NotRequired[str]
    loss: NotRequired[str]
    dead_filters: NotRequired[int]


class SummaryContent(TypedDict):
    """The figures that come first.

    Attributes:
        images: How many were classified.
        mistakes: How many of them wrongly.
        accuracy: Share of the images that were classified correctly.
        skipped: Files that were left out.
    """

    images: int
    mistakes: int
    accuracy: float
    skipped: int


class SkippedContent(TypedDict):
    """A file that was left out.

    Attributes:
        file: Its name.
        reason: Why.
    """

    file: str
    reason: str


class NamedClasses(TypedDict):
    """Names of the classes of one mistake.

    Attributes:
        label_name: Of its true class; empty where it has none.
        predicted_name: Of its predicted class; likewise.
    """

    label_name: str
    predicted_name: str


class ReportContent(TypedDict):
    """What every report says.

    Attributes:
        versions: Of the package, Captum and PyTorch.
        model: Which model.
        images: Which images.
        parameters: How it was computed. Its keys may come and go without a new version.
        caveats: What a reader should know before believing a number.
        classes: Names of the classes that occur, by number, as far as they are known.
        skipped: Files that were left out.
        files: Digest of each file of data beside this one, 32 hexadecimal digits of BLAKE2b.
        page: That of the page.
    """

    versions: Mapping[str, str]
    model: ModelContent
    images: ImagesContent
    parameters: Mapping[str, Any]
    caveats: list[str]
    classes: Mapping[int, str]
    skipped: list[SkippedContent]
    files: Mapping[str, str]
    page: str
