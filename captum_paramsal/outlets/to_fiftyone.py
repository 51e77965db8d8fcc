"""Reports as data sets of FiftyOne, and images back from there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.outlets.image_facts import ImageFacts, SeenTrace, ShownReport, image_facts
from captum_paramsal.outlets.image_files import WHOLE, Part, image_files, seen_part, write_pictures
from captum_paramsal.sources import ShownSource

if TYPE_CHECKING:
    import fiftyone as fo

_TAG = "captum_paramsal"


def to_fiftyone(
    result: ShownReport, images: ShownSource, *, name: str | None = None, pictures: str | Path | None = None
) -> fo.Dataset:
    """A data set of FiftyOne with what a report says of each image.

    Each sample has the image's ``position`` in the source, ``ground_truth`` and ``predicted`` (``fo.Classification``),
    ``guilty_filters`` (``fo.Classifications`` with a ``score`` and a ``rank``), ``group``, and numbers as fields; heat
    maps (``fo.Heatmap``), boxes (``fo.Detections``) and points (``fo.Keypoints``) as far as the report has them, placed
    on the whole photo, of which the model may have seen the middle. An explanation has a heat map of the pixels if it
    was made with ``ExplainSettings(keep_pixels=True)``, and a comparison maps of the images that it shows.

    Args:
        result: An explanation, a triage or a comparison.
        images: Those that it was made of.
        name: Of the data set; one of FiftyOne's own, if None.
        pictures: Folder to write pictures of images to that are no files, such as :class:`LabelledTensors`.

    Returns:
        The data set; not persistent. ``fiftyone.launch_app`` shows it.

    Raises:
        ImportError: FiftyOne is not installed.
        InputError: Another kind of report, or other images than it was made of.
        SourceError: Images that are no files, and no folder, or one that cannot be written to.
    """
    samples = fiftyone_samples(result, images, pictures=pictures)
    dataset = _fiftyone().Dataset(name)
    model = result.context["model"]
    dataset.info = {_TAG: {"kind": result.kind, "schema_version": result.version, "model": dict(model)}}
    dataset.add_samples(samples, progress=False)
    return dataset


def fiftyone_samples(
    result: ShownReport, images: ShownSource, *, pictures: str | Path | None = None
) -> list[fo.Sample]:
    """The samples of :func:`to_fiftyone`, which are in no data set yet; no database is needed for them.

    Raises:
        ImportError, InputError, SourceError: See :func:`to_fiftyone`.
    """
    fo = _fiftyone()
    facts = image_facts(result, images)
    files = image_files(images, pictures)
    write_pictures(images, files, [one.position for one in facts])
    return [_sample(fo, one, files[one.position], seen_part(images, one.position)) for one in facts]


def from_fiftyone(
    samples: Iterable[fo.Sample], images: ShownSource, *, pictures: str | Path | None = None
) -> list[int]:
    """Positions of images in their source, by the paths of samples: of a data set, a view, or what was selected.

    Args:
        samples: Of FiftyOne.
        images: The source.
        pictures: Folder of the pictures of images that are no files, as :func:`to_fiftyone` got it.

    Raises:
        InputError: A sample of another image.
        SourceError: Images that are no files, and no folder.
    """
    places = {file: position for position, file in enumerate(image_files(images, pictures))}
    found = []
    for sample in samples:
        path = Path(sample.filepath).resolve()
        if path not in places:
            message = f"Expected samples of the {len(places)} images given, got one of '{path}'."
            raise InputError(message)
        found.append(places[path])
    return found


def _fiftyone() -> Any:
    try:
        import fiftyone  # noqa: PLC0415 -- optional
    except ImportError as error:
        message = 'Expected FiftyOne, which is not installed: `pip install "captum-paramsal[fiftyone]"`.'
        raise ImportError(message) from error
    return fiftyone


def _sample(fo: Any, facts: ImageFacts, file: Path, part: Part) -> fo.Sample:
    sample = fo.Sample(filepath=str(file), tags=["mistake"] if facts.label != facts.predicted else [])
    sample["position"] = facts.position
    sample["ground_truth"] = fo.Classification(label=facts.label)
    sample["predicted"] = fo.Classification(label=facts.predicted, confidence=facts.confidence)
    if facts.filters:
        sample["guilty_filters"] = fo.Classifications(
            classifications=[
                fo.Classification(label=one.name, score=one.score, rank=rank, **one.numbers)
                for rank, one in enumerate(facts.filters, 1)
            ]
        )
    if facts.group:
        sample["group"] = fo.Classification(label=facts.group)
    for name, number in facts.numbers.items():
        sample[_field(name)] = float(number)
    for name, values in facts.maps.items():
        sample[f"heat_{_field(name)}"] = fo.Heatmap(map=placed(values, part).numpy(), range=[0.0, 1.0])
    for name, trace in facts.traces.items():
        sample[name] = fo.Detections(detections=[fo.Detection(label=trace.label, bounding_box=_box(trace, part))])
        if trace.points:
            points = [_at(x, y, part) for x, y in trace.points]
            sample[f"{name}_points"] = fo.Keypoints(keypoints=[fo.Keypoint(label=trace.label, points=points)])
    return sample


def placed(values: Tensor, part: Part) -> Tensor:
    """A map of what the model sees, as one of the whole picture: 0 where it did not look.

    Args:
        values: ``(h, w)``.
        part: Of the picture, which the map is of; it may reach beyond its edges.

    >>> import torch
    >>> placed(torch.ones(2, 2), (0.25, 0.0, 0.75, 1.0))
    tensor([[0., 1., 1., 0.],
            [0., 1., 1., 0.]])
    """
    if part == WHOLE:
        return values
    x1, y1, x2, y2 = part
    height, width = round(values.shape[0] / (y2 - y1)), round(values.shape[1] / (x2 - x1))
    left, top = round(x1 * width), round(y1 * height)
    whole = values.new_zeros(height, width)
    inside = values[max(0, -top) : height - top, max(0, -left) : width - left]
    top, left = max(0, top), max(0, left)
    whole[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return whole


def _box(trace: SeenTrace, part: Part) -> list[float]:
    """Left, top, width and height as shares of the picture."""
    x1, y1 = _at(trace.box[0], trace.box[1], part)
    x2, y2 = _at(trace.box[2], trace.box[3], part)
    return [x1, y1, x2 - x1, y2 - y1]


def _at(x: float, y: float, part: Part) -> tuple[float, float]:
    """A place in what the model sees, in the picture."""
    x1, y1, x2, y2 = part
    return min(1.0, max(0.0, x1 + x * (x2 - x1))), min(1.0, max(0.0, y1 + y * (y2 - y1)))


def _field(name: str) -> str:
    """A name that a field may have."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name)
