"""Everything that is written has the schema that it names, and the published schemas are those of this version."""

import csv
import json
from pathlib import Path

import pytest
from cases.undrawn import undrawn
from docs.pages import DOCS
from files.closed_schemas import complaints
from files.small_values import VALUES, batches, model, small_value
from jsonschema import Draft202012Validator
from report.cure.small_cures import refused, too_few
from report.doctor.small_reports import colour_checkup, scenes
from report.every_kind import KINDS, strange_report
from report.explain.small_jobs import tiny_explanation, tiny_images
from safetensors import safe_open

from captum_paramsal import DiscernibleNeurons, Filter, SourceError
from captum_paramsal.files import kinds
from captum_paramsal.files.file_kind import FileKind
from captum_paramsal.files.json_file import JsonFile
from captum_paramsal.files.json_schema import schema_name
from captum_paramsal.report import Manifest, TreatmentSettings, json_schemas

pytestmark = pytest.mark.filterwarnings("ignore:Glyph")
SCHEMAS = json_schemas()
AGAIN = "python -m captum_paramsal schema --out docs/schema"
SAVED = {kind.name: kind for kind in vars(kinds).values() if isinstance(kind, FileKind)}


def _tailed():
    return tiny_explanation(images=tiny_images(480), method="pot", batch_size=64, cards=2, pixels=False)


def _treated():
    treatment = TreatmentSettings(scenes(60, seed=2), epochs=1)
    return colour_checkup(scenes(60), treatment=treatment)


REPORTS = {
    **{kind: lambda kind=kind: strange_report(kind) for kind in KINDS},
    "explain with tails and traces": _tailed,
    "doctor with a treatment": _treated,
    "a cure that is refused": refused,
    "a cure without judges": too_few,
}


@pytest.fixture(scope="module", params=REPORTS)
def written(request, tmp_path_factory):
    report, folder = REPORTS[request.param](), tmp_path_factory.mktemp("report")
    with undrawn():
        report.write(folder)
    return report, folder


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def test_the_data_has_its_schema(written):
    report, folder = written
    assert not complaints(
        SCHEMAS[schema_name("reports", report.schema, report.version)], read(folder / report.data_file)
    )


def _typed(cell, schema):
    """A cell as JSON would have it."""
    kinds = schema.get("type", "string")
    if cell == "" and "null" in kinds:
        return None
    if "integer" in kinds:
        return int(cell)
    if "number" in kinds:
        return float(cell)
    if "const" in schema:
        return int(cell)
    return {"True": True, "False": False}[cell] if "boolean" in kinds else cell


def test_every_table_has_its_schema(written):
    report, folder = written
    for table in folder.glob("*.csv"):
        schema = SCHEMAS[schema_name("tables", f"{report.schema}.{table.stem}", report.version)]
        other = schema.get("additionalProperties", {})
        with table.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            assert {*schema["properties"]} <= {*rows.fieldnames}
            assert other or {*schema["properties"]} == {*rows.fieldnames}
            for row in rows:
                content = {name: _typed(cell, schema["properties"].get(name, other)) for name, cell in row.items()}
                assert not complaints(schema, content)


def test_the_manifest_has_its_schema_and_names_those_of_the_files(written):
    _, folder = written
    assert not complaints(SCHEMAS[f"manifest.{Manifest.version}"], read(folder / "manifest.json"))
    for file in Manifest.load(folder).files:
        if file.role in ("data", "table", "patch"):
            assert file.schema in SCHEMAS, file.path
        assert file.schema is None or file.schema in SCHEMAS


@pytest.mark.parametrize("change", [-100, 1])
def test_data_of_an_unknown_version_is_refused(written, change, tmp_path):
    report, folder = written
    content = read(folder / report.data_file)
    content["schema_version"] += change
    (tmp_path / report.data_file).write_text(json.dumps(content))
    with pytest.raises(SourceError, match=rf"got {report.schema} of version {content['schema_version']}"):
        type(report).load(tmp_path)


def described(file):
    """What a file of tensors says of itself."""
    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["captum_paramsal"])


@pytest.mark.parametrize("name", VALUES)
def test_saved_results_have_their_schemas(name, tmp_path):
    kind, file = SAVED[name], tmp_path / "file"
    small_value(name).save(file)
    schema = SCHEMAS[schema_name("files", kind.format, kind.versions[-1])]
    assert not complaints(schema, read(file) if isinstance(kind, JsonFile) else described(file))


def test_a_trace_through_a_filter_has_the_schema_of_traces(tmp_path):
    DiscernibleNeurons(model()).trace(batches()[0][0], through=Filter("0", 1)).save(tmp_path / "file")
    content = described(tmp_path / "file")
    assert "through" in content
    assert not complaints(SCHEMAS[schema_name("files", kinds.TRACE.format, kinds.TRACE.versions[-1])], content)


def test_every_kind_of_file_has_a_schema():
    names = {
        schema_name("files", kind.format, kind.versions[-1]) for kind in SAVED.values() if kind.name != "checkpoint"
    }
    assert names == {name for name in SCHEMAS if name.startswith("files/")}


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_is_a_schema_and_the_published_one(name):
    Draft202012Validator.check_schema(SCHEMAS[name])
    published = DOCS / "schema" / f"{name}.schema.json"
    assert published.is_file(), f"write it: {AGAIN}"
    assert read(published) == SCHEMAS[name], f"another version, or only more keys, which may be missing? Then: {AGAIN}"


def test_what_is_published_beside_is_of_earlier_versions():
    files = {file.relative_to(DOCS / "schema").as_posix() for file in (DOCS / "schema").rglob("*.json")}
    current = {name.rpartition(".")[0]: int(name.rpartition(".")[2]) for name in SCHEMAS}
    for name in {file.removesuffix(".schema.json") for file in files} - SCHEMAS.keys():
        stem, _, version = name.rpartition(".")
        assert int(version) < current[stem]


def test_the_page_names_every_group():
    page = (DOCS / "schema" / "index.md").read_text(encoding="utf-8")
    assert {Path(name).parts[0] for name in SCHEMAS if "/" in name} <= {
        *page.replace("`", " ").replace("/", " ").split()
    }
