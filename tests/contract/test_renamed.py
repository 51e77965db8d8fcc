"""Public names that a version renamed still work, and say what they are called now."""

from importlib import import_module
from pathlib import Path

import pytest

import captum_paramsal

ROOMS = [path.parent.name for path in Path(captum_paramsal.__file__).parent.glob("*/__init__.pyi")]
RENAMED = [
    (room, old, new)
    for room in sorted(ROOMS)
    for old, new in getattr(import_module(f"captum_paramsal.{room}"), "_RENAMED", {}).items()
]


@pytest.mark.parametrize(("room", "old", "new"), RENAMED)
def test_old_name_warns_and_is_the_new_one(room, old, new):
    face = import_module(f"captum_paramsal.{room}")
    home, _, name = new.rpartition(".")
    home = import_module(home or f"captum_paramsal.{room}")
    with pytest.warns(DeprecationWarning, match=f"{room}.{old}` is now `{home.__name__}.{name}`"):
        value = getattr(face, old)
    assert value is getattr(home, name)
    assert old not in face.__all__
    assert name in home.__all__


def test_some_names_are_renamed():
    assert len(RENAMED) > 10


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = import_module("captum_paramsal.report").Nonsense
