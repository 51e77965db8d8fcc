"""Errors that a caller can cause, a ``ValueError`` each: what was expected, what came, what to do. And warnings."""

from __future__ import annotations

import sys
from warnings import warn_explicit

_PASSED_OVER = frozenset({"captum_paramsal", "captum", "torch", "tqdm", "abc", "contextlib", "functools", "importlib"})
"""Packages whose code is never the caller's: this one, and what calls it back or stands between its functions."""


class ParamsalError(ValueError):
    """Anything that ``captum_paramsal`` refuses to do with what it was given."""


class TargetError(ParamsalError, AssertionError):
    """``target`` does not name one class per example.

    Also an ``AssertionError``, the type that Captum's own methods raise for a bad target, so code written for
    Captum catches it unchanged.
    """


class InputError(ParamsalError):
    """Inputs that cannot be scored: an empty batch, a shape the model cannot take, values that are not finite."""


class ForwardError(InputError, RuntimeError):
    """The model's own forward pass failed on the inputs; the cause is chained."""


class ModelError(InputError):
    """A model that does not return class scores, one row per example, or whose scores do not depend on its layers."""


class LayerError(ParamsalError):
    """A layer that does not exist, holds no filters, or is never reached in the forward pass."""


class ReferenceMismatchError(ParamsalError):
    """A reference that was taken on other weights, other layers or another loss."""


class ReferenceFileError(ParamsalError):
    """A reference file that is damaged, truncated or not a reference file."""


class SourceError(ParamsalError):
    """A model, weights, label file, image folder or output folder that cannot be used."""


class CheckpointError(ParamsalError):
    """A checkpoint that is damaged, or belongs to another run."""


class GroupError(ParamsalError):
    """Processes of a group that do not work on the same thing, or one that is gone."""


class TraceError(ParamsalError):
    """An operation without a trace-back rule, or a value in the model that came about unseen."""


class TraceFileError(SourceError):
    """A file of a trace, or of a search for its weights, that is damaged or cannot be written.

    Also a ``SourceError``, the type that version 0.1 raised for it.
    """


class DiagnosisFileError(ParamsalError):
    """A diagnosis file that is damaged, truncated or not a diagnosis file."""


class TreatmentError(ParamsalError):
    """A treatment that cannot go on, such as one whose loss is no longer finite."""


class CureError(ParamsalError):
    """A cure that was refused is to be applied, or its file is missing, damaged or unknown."""


class TriageFileError(ParamsalError):
    """A file of a triage that is damaged, or that cannot be written."""


class InterventionError(ParamsalError):
    """An intervention on filters that the model does not have, or that cannot be carried out."""


class PatchError(ParamsalError):
    """A patch that is damaged, or made for other weights."""


class ConstantEvidenceWarning(UserWarning):
    """A layer whose gradient is the same for every image, so that no image can be unusual there."""


class DoubleSoftmaxWarning(UserWarning):
    """Class scores that are probabilities already, of which the loss takes the softmax again."""


class WholePassesWarning(UserWarning):
    """The tail of a network cannot be run on its own, so every perturbed copy runs through all of it."""


class FewSamplesWarning(UserWarning):
    """Classes with so few confident, correctly classified images that their channels are hardly known."""


class FewPassesWarning(UserWarning):
    """Effects of filters that two halves of the passes do not agree on."""


class IncompleteTailWarning(UserWarning):
    """Thresholds lie higher than asked for, since a part of the reference kept too few of its largest values."""


class UnscoredWeightsWarning(UserWarning):
    """More than a tenth of a model's weights, class scores apart, belongs to layers that are not scored by default."""


class CutOffLayersWarning(UserWarning):
    """Layers ran, and no gradient of the loss reaches them: their scores of 0 say nothing."""


class RandomModelWarning(UserWarning):
    """A model gives other class scores for the same images each time that it runs, in evaluation mode too."""


class DefaultLayersWarning(UserWarning):
    """The first run shows other default layers than a trial run with made-up inputs did."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn of the line from which this package was called, however many of its own functions lie between.

    Args:
        message: What is the matter, and what to do.
        category: Kind of the warning.
    """
    frame = sys._getframe(1)  # noqa: SLF001 -- documented; Python's own `skip_file_prefixes` came with 3.12
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _PASSED_OVER:
        frame = frame.f_back
    seen = frame.f_globals
    warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=seen.get("__name__"),
        registry=seen.setdefault("__warningregistry__", {}),
    )
