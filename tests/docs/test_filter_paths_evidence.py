"""The script of the page on traces through guilty filters, on a few mistakes of the demo."""

import json

import pytest
from docs.scripts import loaded


@pytest.fixture(scope="module")
def study():
    with loaded("photos", "results", "filter_paths") as scripts:
        yield scripts["filter_paths"]


@pytest.mark.slow
def test_a_few_mistakes(study, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "METHODS", dict(list(study.METHODS.items())[:1]))
    monkeypatch.setattr(study, "load_scenes", lambda split, load=study.load_scenes: load(split)[:60])
    study.main(["--work", str(tmp_path), "--mistakes", "4"])
    (result,) = json.loads((tmp_path / "filter_paths_demo.json").read_text("utf-8")).values()
    shares = result.pop("shares")
    assert {kind: (len(rows), len(rows[0])) for kind, rows in result.items()} == dict.fromkeys(
        ("guilty", "same layer", "of another mistake"), (4, 10)
    )
    assert len(shares) == sum(row[0] for row in result["guilty"])
    assert all(0 <= share <= 1 for share in shares)
    assert (tmp_path / "filter_paths_demo.md").read_text("utf-8").count("\n") == 3


def test_another_filter_of_the_layer_is_another(study):
    mistakes = study.found(*_tiny(study))
    for guilty, others in zip(mistakes.guilty, mistakes.others, strict=True):
        for one, other in zip(guilty, others, strict=True):
            assert one.layer == other.layer
            assert one != other


def _tiny(study):
    scenes = study.load_scenes("test")[:60]
    images = study.normalize(scenes.images)
    return study.load_model(), [(images, scenes.labels)], images, scenes.labels, 4
