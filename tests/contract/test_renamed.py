"""Public names that a version renamed still work, and say what they are called now."""

import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

import captum_paramsal

PACKAGE = Path(captum_paramsal.__file__).parent
ROOMS = [path.parent.name for path in PACKAGE.glob("*/__init__.pyi")]
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


def test_a_room_by_its_old_name_holds_what_the_new_one_does():
    with pytest.warns(
        DeprecationWarning, match=r"`captum_paramsal.profile.FilterProfile` is now `captum_paramsal.profiles"
    ):
        from captum_paramsal.profile import FilterProfile  # noqa: PLC0415 -- the import is what is tried
    assert FilterProfile is import_module("captum_paramsal.profiles").FilterProfile
    with pytest.raises(ImportError, match="Nonsense"):
        from captum_paramsal.profile import Nonsense  # noqa: F401, PLC0415


def test_some_names_are_renamed():
    assert len(RENAMED) > 10


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = import_module("captum_paramsal.report").Nonsense


def deprecated_properties():
    """Every property of the package that has another name now, once."""
    seen = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "@deprecated(" not in path.read_text():
            continue
        module = import_module(".".join(("captum_paramsal", *path.relative_to(PACKAGE).with_suffix("").parts)))
        for cls in (value for value in vars(module).values() if isinstance(value, type)):
            for name, value in vars(cls).items():
                if isinstance(value, property) and hasattr(value.fget, "__deprecated__"):
                    seen[f"{cls.__name__}.{name}"] = value.fget
    return seen


@pytest.mark.parametrize(("name", "getter"), deprecated_properties().items())
def test_old_attribute_warns_and_is_the_new_one(name, getter):
    new = re.search(r"is now `(?:\w+\.)?(\w+)`; the old name goes with version 0\.3\.$", getter.__deprecated__)[1]
    value = object()
    with pytest.warns(DeprecationWarning, match=f"is now `.*{new}`"):
        assert getter(SimpleNamespace(**{new: value})) is value
    assert name.rpartition(".")[2] in getter.__deprecated__


def test_attributes_were_renamed():
    assert {"FilterAttribution.profile", "TraceAttribution.following", "Trace.targets"} <= {*deprecated_properties()}
