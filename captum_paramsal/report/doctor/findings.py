"""One pass over images that are diagnosed: what is said about each, and the maps of some."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_paramsal.attr import ModelDoctor
from captum_paramsal.doctor import Diagnosis
from captum_paramsal.doctor.findings import LEVEL, Findings
from captum_paramsal.report.doctor.records import ChannelFinding, DiagnosedMistake, number
from captum_paramsal.report.shared.predictions import Prediction
from captum_paramsal.sources import ImageSource, Picture, SourceBatch, SourceBatches
from captum_paramsal.sources.pictures import encode_tensor
from captum_paramsal.viz import decoded, evidence_overlay, outline

ENOUGH = math.ceil(1 / LEVEL) - 1
"""Images with which a tail probability, counted among them and one more, can be as low as the level."""
_BAND = (0.05, 0.95)
"""Shares of the usual images that a channel's band leaves out below and above."""


@dataclass(frozen=True)
class EvidencePictures:
    """What a card shows of one mistake.

    Attributes:
        evidence: The evidence for the predicted class over the picture.
        wrong: That of the channels alone that should not speak as they do; None where there is none.
        outline: Lines x1, y1, x2, y2 around the object, ``(L, 4)``, in pixels of the model's input; None where nobody
            said where it lies.
        size: Height and width of the model's input.
    """

    evidence: Picture
    wrong: Picture | None
    outline: Tensor | None
    size: tuple[int, int]


@dataclass(frozen=True)
class DiagnosedImage:
    """One diagnosed image.

    Attributes:
        found: What is said about it.
        evidence: Evidence for the predicted class at each place, ``(h, w)``.
        wrong: That of the channels alone that should not speak as they do.
        mask: The object, ``(H, W)`` bool; None where nobody said where it lies.
        size: Height and width of the model's input.
    """

    found: DiagnosedMistake
    evidence: Tensor
    wrong: Tensor
    mask: Tensor | None
    size: tuple[int, int]

    def pictures(self, picture: Picture) -> EvidencePictures:
        """Its maps over its picture."""
        image = decoded(picture.data, picture.mime)
        shown = self.wrong.sum() > 0
        return EvidencePictures(
            evidence=encode_tensor(evidence_overlay(image, self.evidence)),
            wrong=encode_tensor(evidence_overlay(image, self.wrong)) if shown else None,
            outline=None if self.mask is None else outline(self.mask),
            size=self.size,
        )


@dataclass(frozen=True)
class Examination:
    """How images get to a doctor.

    Attributes:
        doctor: The doctor, of a model that is on its device.
        diagnosis: What the classes rely on.
        images: Labelled images.
        top_k: Channels that are named for each.
        batch_size: Images per pass.
        device: Where the model is.
        show_progress: Show a progress bar.
    """

    doctor: ModelDoctor
    diagnosis: Diagnosis
    images: ImageSource
    top_k: int
    batch_size: int
    device: torch.device
    show_progress: bool

    def look_at(self, predictions: Sequence[Prediction], what: str) -> Iterator[DiagnosedImage]:
        """Diagnose some images, right or wrong, one after another."""
        by_position = {one.position: one for one in predictions}
        batches = SourceBatches(self.images, self.doctor.model, list(by_position), self.batch_size, self.device)
        for batch in batches.read(what, show_progress=self.show_progress):
            yield from self._seen(batch, by_position)

    def _seen(self, batch: SourceBatch, by_position: Mapping[int, Prediction]) -> Iterator[DiagnosedImage]:
        masks = [self.images.mask(position) for position in batch.positions]
        size = (batch.inputs.shape[-2], batch.inputs.shape[-1])
        marked = torch.stack([torch.zeros(size) if mask is None else mask.float() for mask in masks])
        found = self.doctor.diagnose(batch.inputs, batch.labels, self.diagnosis, masks=marked, mistakes_only=False)
        unusual = [[channel for channel, p_value in one if p_value <= LEVEL] for one in found.top(self.top_k)]
        for row, (position, mask) in enumerate(zip(batch.positions, masks, strict=True)):
            channels = self._channels(found, row, unusual[row])
            said = self._said(found, row, by_position[position], channels, masked=mask is not None)
            yield DiagnosedImage(said, found.evidence[row], found.wrong_evidence[row], mask, size)

    def _said(
        self, found: Findings, row: int, one: Prediction, channels: tuple[ChannelFinding, ...], *, masked: bool
    ) -> DiagnosedMistake:
        item = self.images.items[one.position]
        compared = int((self.diagnosis.usual_labels == one.predicted).sum())
        known = compared >= ENOUGH
        total = float(found.evidence[row].sum())
        return DiagnosedMistake(
            position=one.position,
            file=item.name,
            label=one.label,
            prediction=one.predicted,
            label_confidence=one.label_confidence,
            prediction_confidence=one.confidence,
            channels=channels,
            compared=compared,
            unusual=int(found.wrong[row].sum()) if known else None,
            wrong_share=number(float(found.wrong_evidence[row].sum()) / total) if known and total else None,
            deviation=number(float(found.deviation[row])),
            background=number(float(found.background[row])) if masked else None,
            background_area=number(float(found.background_area[row])) if masked else None,
            note=item.note,
        )

    def _channels(self, found: Findings, row: int, unusual: Sequence[int]) -> tuple[ChannelFinding, ...]:
        usual = self.diagnosis.usual_of(int(found.predicted[row])).double()
        strongest = found.correlation[row].argsort(descending=True, stable=True).tolist()
        listed = list(dict.fromkeys((*unusual, *strongest)))[: self.top_k]
        total = float(found.correlation[row].sum())
        bands = usual[:, listed].quantile(torch.tensor(_BAND).double(), dim=0) if len(usual) else None
        return tuple(
            ChannelFinding(
                channel=channel,
                correlation=float(found.correlation[row, channel]),
                share=float(found.correlation[row, channel]) / total if total else None,
                usual=number(float(found.usual[row, channel])),
                low=None if bands is None else float(bands[0, place]),
                high=None if bands is None else float(bands[1, place]),
                p_value=number(float(found.p_values[row, channel])),
                for_prediction=bool(found.for_predicted[row, channel]),
                for_label=bool(found.for_label[row, channel]),
            )
            for place, channel in enumerate(listed)
        )
