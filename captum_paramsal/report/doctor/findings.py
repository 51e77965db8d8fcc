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
from captum_paramsal.report.doctor.data import ChannelFinding, DiagnosedMistake, EvidencePictures, number
from captum_paramsal.report.shared.predictions import Prediction
from captum_paramsal.sources import Picture, SourceBatch, SourceBatches
from captum_paramsal.sources.pictures import encode_glow, glow_size
from captum_paramsal.viz import outline
from captum_paramsal.viz.evidence import evidence_glow

ENOUGH = math.ceil(1 / LEVEL) - 1
"""Images with which a tail probability, counted among them and one more, can be as low as the level."""
_BAND = (0.05, 0.95)
"""Shares of the usual images that a channel's band leaves out below and above."""


@dataclass(frozen=True)
class DiagnosedImage:
    """One diagnosed image.

    Attributes:
        diagnosed: What is said about it.
        evidence: Evidence for the predicted class at each place, ``(h, w)``.
        wrong: That of the channels alone that should not speak as they do.
        mask: The object, ``(H, W)`` bool; None where it is not annotated.
        size: Height and width of the model's input.
    """

    diagnosed: DiagnosedMistake
    evidence: Tensor
    wrong: Tensor
    mask: Tensor | None
    size: tuple[int, int]

    def pictures(self, picture: Picture) -> EvidencePictures:
        """What glows over its picture."""
        shown, size = self.wrong.sum() > 0, glow_size(picture)
        return EvidencePictures(
            evidence=encode_glow(evidence_glow(self.evidence, size)),
            wrong=encode_glow(evidence_glow(self.wrong, size)) if shown else None,
            outline=None if self.mask is None else outline(self.mask),
            size=self.size,
        )


@dataclass(frozen=True)
class Examination:
    """How images get to a doctor.

    Attributes:
        doctor: The doctor, of a model that is on its device.
        diagnosis: What the classes rely on.
        batches: Labelled images.
        top_k: Channels that are named for each.
        show_progress: Show a progress bar.
    """

    doctor: ModelDoctor
    diagnosis: Diagnosis
    batches: SourceBatches
    top_k: int
    show_progress: bool

    def diagnose(self, predictions: Sequence[Prediction], what: str) -> Iterator[DiagnosedImage]:
        """Diagnose some images, right or wrong, one after another."""
        by_position = {prediction.position: prediction for prediction in predictions}
        for batch in self.batches.at(list(by_position)).read(what, show_progress=self.show_progress):
            yield from self._diagnosed(batch, by_position)

    def _diagnosed(self, batch: SourceBatch, by_position: Mapping[int, Prediction]) -> Iterator[DiagnosedImage]:
        masks = [self.batches.images.mask(position) for position in batch.positions]
        size = (batch.inputs.shape[-2], batch.inputs.shape[-1])
        marked = torch.stack([torch.zeros(size) if mask is None else mask.float() for mask in masks])
        findings = self.doctor.diagnose(batch.inputs, batch.labels, self.diagnosis, masks=marked, mistakes_only=False)
        unusual = [[channel for channel, p_value in top if p_value <= LEVEL] for top in findings.top(self.top_k)]
        for row, (position, mask) in enumerate(zip(batch.positions, masks, strict=True)):
            channels = self._channels(findings, row, unusual[row])
            mistake = self._mistake(findings, row, by_position[position], channels, masked=mask is not None)
            yield DiagnosedImage(mistake, findings.evidence[row], findings.wrong_evidence[row], mask, size)

    def _mistake(
        self,
        findings: Findings,
        row: int,
        prediction: Prediction,
        channels: tuple[ChannelFinding, ...],
        *,
        masked: bool,
    ) -> DiagnosedMistake:
        item = self.batches.images.items[prediction.position]
        compared = int((self.diagnosis.usual_labels == prediction.predicted).sum())
        known = compared >= ENOUGH
        total = float(findings.evidence[row].sum())
        return DiagnosedMistake(
            position=prediction.position,
            file=item.name,
            label=prediction.label,
            predicted=prediction.predicted,
            label_confidence=prediction.label_confidence,
            confidence=prediction.confidence,
            channels=channels,
            compared=compared,
            unusual=int(findings.wrong[row].sum()) if known else None,
            wrong_share=number(float(findings.wrong_evidence[row].sum()) / total) if known and total else None,
            deviation=number(float(findings.deviation[row])),
            background=number(float(findings.background[row])) if masked else None,
            background_area=number(float(findings.background_area[row])) if masked else None,
            note=item.note,
        )

    def _channels(self, findings: Findings, row: int, unusual: Sequence[int]) -> tuple[ChannelFinding, ...]:
        usual = self.diagnosis.usual_of(int(findings.predicted[row])).double()
        strongest = findings.correlation[row].argsort(descending=True, stable=True).tolist()
        listed = list(dict.fromkeys((*unusual, *strongest)))[: self.top_k]
        total = float(findings.correlation[row].sum())
        bands = usual[:, listed].quantile(torch.tensor(_BAND).double(), dim=0) if len(usual) else None
        return tuple(
            ChannelFinding(
                channel=channel,
                correlation=float(findings.correlation[row, channel]),
                share=float(findings.correlation[row, channel]) / total if total else None,
                usual=number(float(findings.usual[row, channel])),
                low=None if bands is None else float(bands[0, place]),
                high=None if bands is None else float(bands[1, place]),
                p_value=number(float(findings.p_values[row, channel])),
                for_predicted=bool(findings.for_predicted[row, channel]),
                for_label=bool(findings.for_label[row, channel]),
            )
            for place, channel in enumerate(listed)
        )
