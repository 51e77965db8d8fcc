"""The house by its figures: no file imports itself through others, and the root stays small."""

from pathlib import Path

import pytest
from benchmarks.house import House, Source

HOUSE = House(Path(__file__).resolve().parents[2])


def test_no_files_import_each_other_in_a_circle():
    """Also not for typing, inside functions, or through the lazy face of a room."""
    assert HOUSE.cycles() == []


def test_files_at_the_root():
    at_root = {name.removeprefix("captum_paramsal.") for name in HOUSE.modules if name.count(".") == 1}
    files = {path.stem for path in (HOUSE.root / "captum_paramsal").glob("*.py")} - {"__init__"}
    assert files <= at_root
    assert files == {"__main__", "batch", "errors", "filters", "summary", "versions"}


@pytest.mark.parametrize("size", [2, 3])
def test_a_circle_is_found(size, monkeypatch):
    names = [f"captum_paramsal.room{i}" for i in range(size)]
    modules = {
        name: Source(name, f"from {names[(i + 1) % size]} import something\n", is_stub=False)
        for i, name in enumerate(names)
    }
    house = House(HOUSE.root)
    monkeypatch.setattr(house, "modules", modules)
    assert house.cycles() == [names]
