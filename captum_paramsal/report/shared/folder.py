"""The folder of a report: one kind in each, since the page of every kind has the same name."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from captum_paramsal.errors import SourceError
from captum_paramsal.files import open_folder

PAGE, MANIFEST = "report.html", "manifest.json"
SHARED_FILES = MappingProxyType(
    {PAGE: "the report for people, in one file", MANIFEST: "which of these files is which, for programs"}
)
"""What every report writes beside its data, in words."""
KINDS = {
    "explanation.json": "Every mistake explained",
    "doctor.json": "Model Doctor",
    "triage.json": "Mistakes sorted",
    "cure.json": "A cure",
    "comparison.json": "Attribution methods compared",
    "models.json": "Two checkpoints compared",
}
"""What each kind of report is called, by the name of its JSON file."""


def open_report_folder(path: str | Path, data_file: str) -> Path:
    """Make a folder for a report if need be, and make sure that the report can be written to it.

    Meant to be called before long work, whose result would otherwise have nowhere to go. An earlier report of the same
    kind gives way to the new one.

    Args:
        path: The folder.
        data_file: Name of the JSON file of this kind of report.

    Raises:
        SourceError: The folder cannot be made or written to, or a report of another kind is there.
    """
    folder = open_folder(path)
    others = [name for name in KINDS if name != data_file and (folder / name).exists()]
    if others:
        message = (
            f"Expected a folder without a report of another kind, got '{folder}' with {others[0]!r}, whose page would "
            "be replaced. Give each kind a folder of its own, or take the other one away."
        )
        raise SourceError(message)
    return folder
