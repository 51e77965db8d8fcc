"""The page to draw in, and the empty file of COCO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from captum_paramsal.files import readable
from captum_paramsal.files.sealed_json import digest_of
from captum_paramsal.report.annotate.data import ChosenPicture
from captum_paramsal.report.shared.environment import environment
from captum_paramsal.report.shared.report import class_name


def coco(pictures: Sequence[ChosenPicture], classes: Mapping[int, str]) -> dict[str, Any]:
    """The pictures and their classes as COCO has them, with nothing marked."""
    labels = sorted({picture.label for picture in pictures})
    return {
        "info": {"description": "Pictures to annotate"},
        "images": [
            {"id": number, "file_name": picture.picture, "width": picture.width, "height": picture.height}
            for number, picture in enumerate(pictures, start=1)
        ],
        "annotations": [],
        "categories": [{"id": label, "name": class_name(classes, label)} for label in labels],
    }


def annotation_page(
    pictures: Sequence[ChosenPicture], classes: Mapping[int, str], caveats: Sequence[str], context: Mapping[str, Any]
) -> str:
    """The page, which needs the folder of pictures beside it, and no server.

    Args:
        pictures: In the order to show.
        classes: Names of the classes.
        caveats: What a reader should know.
        context: ``model``, ``images`` (how many there were), ``per_class``, ``among`` and ``order``.
    """
    groups = [
        (class_name(classes, label), [picture for picture in pictures if picture.label == label])
        for label in sorted({picture.label for picture in pictures})
    ]
    task = coco(pictures, classes)
    labels = {entry["file_name"]: picture.label for entry, picture in zip(task["images"], pictures, strict=True)}
    text = (
        environment()
        .get_template("annotate.html.jinja")
        .render(
            groups=groups,
            name_of=lambda label: class_name(classes, label),
            pictures=pictures,
            caveats=caveats,
            context=context,
            task=task,
            labels=labels,
            # Drawings that a browser keeps belong to these pictures alone.
            key=digest_of(repr(pictures).encode("utf-8", "backslashreplace")),
        )
    )
    return readable(text) + "\n"
