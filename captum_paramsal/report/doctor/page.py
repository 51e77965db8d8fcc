"""The HTML report of a doctor: what each part of the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from captum_paramsal.doctor.findings import LEVEL
from captum_paramsal.report.doctor.class_section import class_section
from captum_paramsal.report.doctor.comparison_section import (
    background_rows,
    background_verdict,
    compared_rows,
    compared_verdict,
)
from captum_paramsal.report.doctor.data import ChannelFinding, DiagnosedMistake, DoctorData, EvidencePictures
from captum_paramsal.report.doctor.treatment_section import treatment_section
from captum_paramsal.report.shared.find_choices import pair_choices
from captum_paramsal.report.shared.page_pictures import PagePictures
from captum_paramsal.report.shared.templating import render


@dataclass(frozen=True)
class _Band:
    """A channel of a mistake beside the usual images: places from left to right, in percent.

    Attributes:
        here: Place of this image.
        low: Where the band of the usual images begins.
        width: How wide it is.
        usual: Place of their median.
    """

    here: float
    low: float
    width: float
    usual: float


@dataclass(frozen=True)
class _Strip:
    """One channel of a mistake: what is said about it, where it lies (if known), and which class relies on it."""

    finding: ChannelFinding
    band: _Band | None
    relies: str

    @property
    def unusual(self) -> bool:
        """Whether it stands out."""
        return self.finding.p_value is not None and self.finding.p_value <= LEVEL


@dataclass(frozen=True)
class _Card:
    number: int
    mistake: DiagnosedMistake
    label: str
    predicted: str
    evidence: EvidencePictures | None
    strips: Sequence[_Strip]

    @property
    def outline(self) -> str:
        """SVG path around the object."""
        if self.evidence is None or self.evidence.outline is None:
            return ""
        return "".join(f"M{x1} {y1}L{x2} {y2}" for x1, y1, x2, y2 in self.evidence.outline.tolist())


def doctor_page(report: DoctorData) -> str:
    """The report as one HTML page that needs no other file."""
    cards = _cards(report)
    return render(
        "doctor.html.jinja",
        report,
        layer=report.context["layer"]["name"],
        channels=report.diagnosis.channels,
        cards=cards,
        photos=PagePictures(report.pictures),
        section=class_section(report),
        compared=compared_rows(report),
        difference=compared_verdict(report),
        background=background_rows(report),
        verdict=background_verdict(report),
        treated=treatment_section(report),
        pairs=pair_choices(((card.mistake.label, card.mistake.predicted) for card in cards), report.class_name),
    )


def _cards(report: DoctorData) -> list[_Card]:
    drawn = sorted((mistake for mistake in report.mistakes if mistake.drawn), key=lambda mistake: -mistake.confidence)
    return [_card(report, mistake, number) for number, mistake in enumerate(drawn, 1)]


def _card(report: DoctorData, mistake: DiagnosedMistake, number: int) -> _Card:
    label, predicted = report.class_name(mistake.label), report.class_name(mistake.predicted)
    return _Card(
        number=number,
        mistake=mistake,
        label=label,
        predicted=predicted,
        evidence=report.evidence.get(mistake.position),
        strips=[_strip(finding, label, predicted) for finding in mistake.channels],
    )


def _strip(finding: ChannelFinding, label: str, predicted: str) -> _Strip:
    who = {
        (True, True): "both classes rely on it",
        (True, False): f"{predicted} relies on it",
        (False, True): f"{label} relies on it",
        (False, False): "neither class relies on it",
    }[finding.for_predicted, finding.for_label]
    return _Strip(finding, _band(finding), who)


def _band(finding: ChannelFinding) -> _Band | None:
    if finding.usual is None or finding.low is None or finding.high is None:
        return None
    full = max(finding.correlation, finding.high) or 1.0
    here, low, high, usual = (
        round(100 * value / full, 1) for value in (finding.correlation, finding.low, finding.high, finding.usual)
    )
    return _Band(here, low, round(max(high - low, 0.0), 1), usual)
