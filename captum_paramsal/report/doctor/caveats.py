"""What a reader should know before believing a number: said in the report, instead of as warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from captum_paramsal.doctor import Diagnosis
from captum_paramsal.errors import ConstantEvidenceWarning, FewSamplesWarning, WholePassesWarning
from captum_paramsal.report.doctor.data import DiagnosedMistake
from captum_paramsal.report.doctor.findings import ENOUGH
from captum_paramsal.report.shared.report import class_name

_FEW = 5
_NAMED = 12


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Keep what a doctor warns about, as a list that is filled when the context ends; other warnings pass.

    What is said of few samples and constant evidence is left to :func:`doctor_caveats`, which knows the images.
    """
    caveats: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        for category in (ConstantEvidenceWarning, FewSamplesWarning, WholePassesWarning):
            warnings.simplefilter("always", category)
        yield caveats
    for warning in caught:
        if issubclass(warning.category, WholePassesWarning):
            caveats.append(str(warning.message))
        elif not issubclass(warning.category, (ConstantEvidenceWarning, FewSamplesWarning)):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def doctor_caveats(
    diagnosis: Diagnosis, mistakes: Sequence[DiagnosedMistake], seen: set[int], classes: Mapping[int, str]
) -> list[str]:
    """What the diagnosis cannot tell about these images.

    Args:
        diagnosis: What the classes rely on.
        mistakes: The diagnosed ones.
        seen: Classes that occur, as labels or as predictions.
        classes: Names of the classes.
    """
    caveats = []
    counts = diagnosis.counts.tolist()
    few = [f"{class_name(classes, label)} ({counts[label]})" for label in sorted(seen) if counts[label] < _FEW]
    if few:
        named = ", ".join(few[:_NAMED]) + (", ..." if len(few) > _NAMED else "")
        caveats.append(
            f"{len(few)} of the {len(seen)} classes that occur have fewer than {_FEW} images that the model classifies "
            f"correctly with a probability of at least {diagnosis.settings['confidence']:g}: {named}. Which channels "
            "they rely on is hardly known."
        )
    unknown = sum(mistake.unusual is None for mistake in mistakes)
    if unknown:
        caveats.append(
            f"For {unknown} of {len(mistakes)} mistakes fewer than {ENOUGH} images of the predicted class are known "
            "that the model is right about: too few to call a channel unusual."
        )
    if diagnosis.is_constant:
        caveats.append(
            f"The evidence at {diagnosis.layer} is the same in every image of a class, since what follows is linear: "
            "no image can be unusual there. Take contributions instead of gradients, or an earlier layer."
        )
    return caveats
