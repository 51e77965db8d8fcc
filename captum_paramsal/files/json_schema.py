"""JSON Schema (2020-12) of types: of dataclasses and typed dictionaries as their JSON has them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typing_extensions import NotRequired, get_type_hints, is_typeddict

DIALECT = "https://json-schema.org/draft/2020-12/schema"
INLINE = "inline"
"""Mark of a part, in an annotation or in the metadata of a field, whose keys stand beside those of its owner."""
_NAMES = {bool: "boolean", int: "integer", str: "string", float: "number", NoneType: "null"}
_ENTRY = re.compile(r" {4}(\w+): (.*)")
_MARKUP = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`|``(.*?)``")


def schema_name(group: str, name: str, version: int) -> str:
    """What a schema is called: its group, the name in the JSON without that of the package, and its version.

    >>> schema_name("reports", "captum_paramsal.explanation", 4)
    'reports/explanation.4'
    """
    return f"{group}/{name.removeprefix('captum_paramsal.')}.{version}"


def json_schema(
    kind: Any, name: str, title: str, *, constants: Mapping[str, object], nan_is_null: bool
) -> dict[str, Any]:
    """The schema of a file of JSON.

    A key may be missing where its type says so, or has a default; further keys are allowed, since a later release may
    add some without a new version.

    Args:
        kind: A dataclass or typed dictionary, whose documentation says what its keys are.
        name: See :func:`schema_name`.
        title: In a few words.
        constants: Keys that say what the file is, with their values, which stand beside those of ``kind``.
        nan_is_null: Whether what is not a number is null there.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     '''A place.
    ...
    ...     Attributes:
    ...         x: From the left.
    ...         name: If it has one.
    ...     '''
    ...     x: int
    ...     name: str | None = None
    >>> schema = json_schema(Point, "files/point.1", "point", constants={"version": 1}, nan_is_null=False)
    >>> schema["required"], schema["properties"]["x"]
    (['version', 'x'], {'type': 'integer', 'description': 'From the left.'})
    """
    made = _Schemas(nan_is_null)
    body = made.of_object(kind)
    fixed = {key: {"const": value} for key, value in constants.items()}
    return {
        "$schema": DIALECT,
        "$id": f"urn:captum-paramsal:schema:{name.replace('/', ':')}",
        "title": title,
        **{key: body[key] for key in ("description", "type") if key in body},
        "properties": fixed | body["properties"],
        "required": [*fixed, *body["required"]],
        **({"$defs": dict(sorted(made.definitions.items()))} if made.definitions else {}),
    }


class _Schemas:
    """Schemas of types that refer to each other.

    Attributes:
        definitions: Of the dataclasses and typed dictionaries within, by name.
    """

    def __init__(self, nan_is_null: bool) -> None:  # noqa: FBT001 -- private, and given by name above
        self._nan_is_null = nan_is_null
        self._kinds: dict[str, Any] = {}
        self.definitions: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type."""
        origin, parts = get_origin(kind) or kind, get_args(kind)
        if origin in (NotRequired, Annotated):
            return self.of(parts[0])
        if origin in (Union, UnionType):
            return _any_of([self.of(part) for part in parts])
        if is_dataclass(kind) or is_typeddict(kind):
            return self._reference(kind)
        if kind is Any or origin is Literal or kind in _NAMES:
            return self._of_value(kind, parts)
        return self._of_collection(kind, origin, parts)

    def of_object(self, kind: Any) -> dict[str, Any]:
        """The schema of a dataclass or typed dictionary, in full."""
        words, about = _documented(kind)
        hints = get_type_hints(kind, include_extras=True)
        properties: dict[str, Any] = {}
        required: list[str] = []
        for key, field in _keys(kind, hints):
            if _is_inline(hints[key], field):
                inner = self.of_object(_plain_type(hints[key]))
                properties |= inner["properties"]
                required += inner["required"]
                continue
            properties[key] = self.of(hints[key]) | ({"description": about[key]} if key in about else {})
            if _is_required(hints[key], field):
                required.append(key)
        described = {"description": words} if words else {}
        return {**described, "type": "object", "properties": properties, "required": [*dict.fromkeys(required)]}

    def _of_value(self, kind: Any, parts: Sequence[Any]) -> dict[str, Any]:
        if kind is Any:
            return {}
        if parts:
            return {"enum": list(parts)} if len(parts) > 1 else {"const": parts[0]}
        return {"type": ["number", "null"] if kind is float and self._nan_is_null else _NAMES[kind]}

    def _reference(self, kind: Any) -> dict[str, Any]:
        name = kind.__name__
        if self._kinds.setdefault(name, kind) is not kind:
            message = f"Expected one type of each name, got two that are called {name!r}."
            raise TypeError(message)
        if name not in self.definitions:
            self.definitions[name] = {}  # so that a type that holds itself comes to an end
            self.definitions[name] = self.of_object(kind)
        return {"$ref": f"#/$defs/{name}"}

    def _of_collection(self, kind: Any, origin: Any, parts: Sequence[Any]) -> dict[str, Any]:
        if isinstance(origin, type) and issubclass(origin, Mapping):
            key, value = parts
            names = {"propertyNames": {"pattern": "^-?[0-9]+$"}} if key is int else {}
            return {"type": "object", "additionalProperties": self.of(value), **names}
        if origin is tuple and parts[-1:] != (...,):
            items = [self.of(part) for part in parts]
            return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
        if isinstance(origin, type) and issubclass(origin, Sequence):
            return {"type": "array", "items": self.of(parts[0])}
        message = f"Expected a type that JSON has, got {kind!r}."
        raise TypeError(message)


def _keys(kind: Any, hints: Mapping[str, Any]) -> list[tuple[str, Field[Any] | None]]:
    return [(field.name, field) for field in fields(kind)] if is_dataclass(kind) else [(key, None) for key in hints]


def _is_inline(hint: Any, field: Field[Any] | None) -> bool:
    marks = getattr(hint, "__metadata__", ()) if field is None else field.metadata
    return INLINE in marks


def _plain_type(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _is_required(hint: Any, field: Field[Any] | None) -> bool:
    if field is None:
        return get_origin(hint) is not NotRequired
    return field.default is MISSING and field.default_factory is MISSING


def _any_of(options: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One of several, simple types in one list."""
    simple = [option for option in options if option.keys() == {"type"}]
    names = [name for option in simple for name in _listed(option["type"])]
    merged = [{"type": list(dict.fromkeys(names))}] if names else []
    rest = [option for option in options if option not in simple]
    return (rest + merged)[0] if len(rest + merged) == 1 else {"anyOf": rest + merged}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _documented(kind: Any) -> tuple[str, dict[str, str]]:
    """First line of a type's documentation, and what it says of each of its keys, those of its bases included."""
    about: dict[str, str] = {}
    # A typed dictionary is no subclass of its bases.
    for base in getattr(kind, "__orig_bases__", kind.__bases__):
        if is_dataclass(base) or is_typeddict(base):
            about |= _documented(base)[1]
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    key = ""
    for line in lines[lines.index("Attributes:") + 1 :] if "Attributes:" in lines else []:
        entry = _ENTRY.fullmatch(line)
        if entry:
            key = entry[1]
            about[key] = entry[2]
        elif key and line.startswith(" " * 8):
            about[key] += f" {line.strip()}"
        else:
            key = ""
    words = _plain(lines[0]) if lines else ""
    return words, {name: _plain(text) for name, text in about.items()}


def _plain(text: str) -> str:
    r"""Text without the marks of the documentation.

    >>> _plain("``None`` as in :class:`~captum_paramsal.repair.Patch`")
    'None as in Patch'
    """
    return _MARKUP.sub(lambda found: found[1] or found[2], text)
