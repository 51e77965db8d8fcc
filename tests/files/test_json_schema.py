"""Schemas of types: what they say, and that they accept what has the type and refuse what has not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from files.closed_schemas import accepts
from typing_extensions import NotRequired, TypedDict

from captum_paramsal.files.json_schema import DIALECT, INLINE, json_schema


@dataclass
class Corner:
    """A place.

    Attributes:
        x: From the left, in
            :class:`~captum_paramsal.Pixels`.
    """

    x: float
    y: float = 0.0


@dataclass
class Named(Corner):
    """A place with a name.

    Attributes:
        name: Of it; ``None`` for none.
    """

    name: str | None = None


class Base(TypedDict):
    """What all have.

    Attributes:
        kind: Which.
    """

    kind: Literal["a", "b"]


class Everything(Base):
    """One of each type.

    Attributes:
        corner: Where.
    """

    corner: Corner
    inner: Annotated[Named, INLINE]
    pair: tuple[int, str]
    many: tuple[int, ...]
    by_number: Mapping[int, list[bool]]
    anything: NotRequired[Any]
    maybe: Corner | None


def schema(kind=Everything, **options):
    return json_schema(kind, "files/it.1", "it", constants={"version": 1}, **{"nan_is_null": False, **options})


WHOLE = {
    "version": 1,
    "kind": "a",
    "corner": {"x": 1.0, "y": 2},
    "x": 0.5,
    "pair": [1, "one"],
    "many": [1, 2, 3],
    "by_number": {"-1": [True]},
    "maybe": None,
}


def test_what_has_the_type_is_accepted():
    assert accepts(schema(), WHOLE)
    assert accepts(schema(), {**WHOLE, "anything": [None], "y": 0, "name": "n", "maybe": {"x": 0}})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("kind", "c"),
        ("corner", {"y": 1.0}),
        ("corner", None),
        ("x", None),
        ("x", "1"),
        ("pair", [1]),
        ("pair", [1, "one", 2]),
        ("many", [1.5]),
        ("by_number", {"one": []}),
        ("by_number", {"1": [1]}),
        ("maybe", 1),
        ("name", 1),
        ("surplus", 1),
    ],
)
def test_what_has_not_is_refused(key, value):
    assert not accepts(schema(), {**WHOLE, key: value})


@pytest.mark.parametrize("key", [key for key in WHOLE if key != "y"])
def test_a_missing_key_is_refused(key):
    assert not accepts(schema(), {name: value for name, value in WHOLE.items() if name != key})


def test_a_key_of_a_later_release_is_accepted_as_it_is_published():
    assert accepts(schema(), {**WHOLE, "surplus": 1}, closed=False)


def test_what_is_no_number_is_null_where_that_is_so():
    content = {**WHOLE, "corner": {"x": None}}
    assert accepts(schema(nan_is_null=True), content)
    assert not accepts(schema(), content)


def test_documentation_becomes_descriptions():
    made = schema()
    assert made["$schema"] == DIALECT
    assert made["$id"] == "urn:captum-paramsal:schema:files:it.1"
    assert made["description"] == "One of each type."
    assert made["properties"]["kind"]["description"] == "Which."
    assert made["properties"]["corner"] == {"$ref": "#/$defs/Corner", "description": "Where."}
    assert made["properties"]["x"]["description"] == "From the left, in Pixels."
    assert made["properties"]["name"]["description"] == "Of it; None for none."


def test_a_field_may_stand_in_its_owner():
    @dataclass
    class Owner:
        """Has a corner's keys."""

        corner: Corner = field(metadata={INLINE: True})

    # Names of a local class are resolved where the module looks for them.
    Owner.__annotations__["corner"] = Corner
    assert schema(Owner)["properties"].keys() == {"version", "x", "y"}


def test_two_types_of_one_name_are_refused():
    Same = TypedDict("Same", {"class": int})
    Again = TypedDict("Same", {"class": str})
    Both = TypedDict("Both", {"first class": Same, "second class": Again})
    with pytest.raises(TypeError, match="two that are called 'Same'"):
        schema(Both)


def test_a_type_that_json_has_not_is_refused():
    with pytest.raises(TypeError, match="a type that JSON has"):
        schema(TypedDict("Odd", {"odd class": complex}))
