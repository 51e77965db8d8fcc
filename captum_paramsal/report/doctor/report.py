"""What a doctor found on a set of images, as a value that can be saved, loaded and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typing_extensions import deprecated

from captum_paramsal.files import as_csv
from captum_paramsal.report.doctor.data import CHANNEL_COLUMNS, DIAGNOSIS, PATCH, DiagnosedGroup, DoctorData
from captum_paramsal.report.doctor.page import doctor_page
from captum_paramsal.report.shared.folder import PAGE


@dataclass(frozen=True)
class DoctorReport(DoctorData):
    """Every mistake of a model on a set of images, and the channels that misled it: data, table and page.

    ``write`` makes ``diagnosis.safetensors``, ``doctor.json``, ``channels.csv`` and ``report.html``; and of a treatment
    ``treated.patch.safetensors``.
    """

    def save_beside(self, folder: Path) -> None:
        """Save diagnosis and patch."""
        self.diagnosis.save(folder / DIAGNOSIS)
        if self.patch is not None:
            self.patch.save(folder / PATCH)

    def contents(self) -> dict[str, str | bytes]:
        """Table and page."""
        return {"channels.csv": as_csv(self.to_table(), CHANNEL_COLUMNS), PAGE: doctor_page(self)}

    @property
    @deprecated("`DoctorReport.right` is now `DoctorReport.correct_group`; the old name goes with version 0.3.")
    def right(self) -> DiagnosedGroup:
        """The former name of ``correct_group``."""
        return self.correct_group

    @property
    @deprecated("`DoctorReport.wrong` is now `DoctorReport.mistake_group`; the old name goes with version 0.3.")
    def wrong(self) -> DiagnosedGroup:
        """The former name of ``mistake_group``."""
        return self.mistake_group
