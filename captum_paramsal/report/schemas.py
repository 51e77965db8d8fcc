"""JSON Schemas of everything that is written: reports, their tables and manifest, and saved results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captum_paramsal.files import kinds
from captum_paramsal.files.file_kind import FileKind
from captum_paramsal.files.json_file import JsonFile
from captum_paramsal.files.json_schema import json_schema, schema_name
from captum_paramsal.report.compare.content import ComparisonReportContent, ScoreRow
from captum_paramsal.report.compare.data import ComparisonData
from captum_paramsal.report.compare_models.content import ChangedRow, ExplainedRow, LayerRow, ModelsContent
from captum_paramsal.report.compare_models.data import ModelComparisonData
from captum_paramsal.report.cure.content import CureReportContent, JudgedRow
from captum_paramsal.report.cure.data import CureData
from captum_paramsal.report.doctor.content import ChannelRow, CheckupContent
from captum_paramsal.report.doctor.data import DoctorData
from captum_paramsal.report.explain.content import ExplanationContent, FilterRow
from captum_paramsal.report.explain.data import ExplanationData
from captum_paramsal.report.shared.manifest import Manifest
from captum_paramsal.report.triage.content import CureRow, GuiltyRow, MistakeRow, TriageReportContent
from captum_paramsal.report.triage.data import TriageData

_REPORTS: Mapping[Any, tuple[Any, Mapping[str, Any]]] = {
    ExplanationData: (ExplanationContent, {"filters": FilterRow}),
    DoctorData: (CheckupContent, {"channels": ChannelRow}),
    ComparisonData: (ComparisonReportContent, {"comparison": ScoreRow}),
    TriageData: (TriageReportContent, {"triage": GuiltyRow, "mistakes": MistakeRow, "cures": CureRow}),
    CureData: (CureReportContent, {"cure": JudgedRow}),
    ModelComparisonData: (ModelsContent, {"filters": ChangedRow, "images": ExplainedRow, "layers": LayerRow}),
}
"""What the JSON of each kind of report says, and a row of each of its tables."""


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas (2020-12) of what this version writes, by name.

    ``reports/explanation.4`` is that of ``explanation.json`` whose ``schema_version`` is 4, ``tables/...`` that of
    a row of a table, ``files/...`` that of a saved result (of a file of tensors, the description in its metadata), and
    ``manifest.1`` that of ``manifest.json``, which names the others. They are those of the folder ``docs/schema``.

    >>> sorted(name for name in json_schemas() if name.startswith("reports/"))[:2]
    ['reports/checkup.2', 'reports/compare_models.1']
    """
    saved = [kind for kind in vars(kinds).values() if isinstance(kind, FileKind) and kind is not kinds.CHECKPOINT]
    schemas = [_of_file(kind) for kind in saved] + [_of_manifest()]
    for report, (content, tables) in _REPORTS.items():
        schemas += [_of_report(report, content), *(_of_table(report, name, row) for name, row in tables.items())]
    return dict(sorted(schemas))


def _of_report(report: Any, content: Any) -> tuple[str, dict[str, Any]]:
    name = schema_name("reports", report.schema, report.version)
    constants = {"schema": report.schema, "schema_version": report.version}
    schema = json_schema(content, name, report.data_file, constants=constants, nan_is_null=True)
    return name, _sealed(schema, "Of all lines before the last one.")


def _of_table(report: Any, table: str, row: Any) -> tuple[str, dict[str, Any]]:
    name = schema_name("tables", f"{report.schema}.{table}", report.version)
    title = f"row of {table}.csv"
    schema = json_schema(row, name, title, constants={"schema_version": report.version}, nan_is_null=True)
    # A metric of somebody's own has a column too.
    return name, schema | ({"additionalProperties": {"type": ["number", "null"]}} if row is ScoreRow else {})


def _of_file(kind: FileKind) -> tuple[str, dict[str, Any]]:
    name, version = kind.format, kind.versions[-1]
    called = schema_name("files", name, version)
    title = f"{kind.name} file" + ("" if isinstance(kind, JsonFile) else ": description in the metadata")
    schema = json_schema(kind.content, called, title, constants={"format": name, "version": version}, nan_is_null=False)
    return called, _sealed(schema, "Of all of it, tensors included.")


def _of_manifest() -> tuple[str, dict[str, Any]]:
    name = f"manifest.{Manifest.version}"
    constants = {"schema": Manifest.schema, "schema_version": Manifest.version}
    schema = json_schema(Manifest, name, "manifest.json", constants=constants, nan_is_null=True)
    return name, _sealed(schema, "Of all lines before the last one.")


def _sealed(schema: dict[str, Any], words: str) -> dict[str, Any]:
    """With the checksum that ends it."""
    properties = {**schema["properties"], "checksum": {"type": "string", "description": words}}
    return {**schema, "properties": properties, "required": [*schema["required"], "checksum"]}
