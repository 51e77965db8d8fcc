"""Dataclasses to plain JSON and back: the one codec of all reports.

Tuples are lists, keys of mappings strings, NaN and infinity null; and null is NaN where a ``float`` is expected.
A key that is missing takes the field's default, and a key that no field has is passed over, so that a file of an older
version is read by the same classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any, TypeVar, get_origin

from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

from captum_paramsal.sources import Skipped

_T = TypeVar("_T")

INLINE = MappingProxyType({"inline": True})
"""Metadata of a field whose value is a dataclass that has its keys beside those of its owner, and none of its own."""

_CODEC: JsonConverter = make_converter(
    detailed_validation=False, unstruct_collection_overrides={tuple: list, Sequence: list}
)


def to_json(value: Any) -> Any:
    """A dataclass, or anything made of dataclasses, as ``json`` takes it."""
    return _CODEC.unstructure(value)


def from_json(content: Any, kind: type[_T]) -> _T:
    """Back from ``to_json``.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: A key without default is missing, or a value is of
            another kind.
    """
    return _CODEC.structure(content, kind)


def from_json_or_none(content: Any, kind: type[_T]) -> _T | None:
    """The same, where null stands for nothing."""
    return None if content is None else from_json(content, kind)


def renamed_keys(content: Any, names: Mapping[str, str]) -> Any:
    """JSON of an older version under the keys of now, at any depth.

    >>> renamed_keys({"a": [{"b": 1}], "c": 2}, {"b": "d"})
    {'a': [{'d': 1}], 'c': 2}
    """
    if isinstance(content, Mapping):
        return {names.get(key, key): renamed_keys(value, names) for key, value in content.items()}
    return [renamed_keys(value, names) for value in content] if isinstance(content, list) else content


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _inline_fields(kind: Any) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind) if "inline" in field.metadata)


def _has_inline_fields(kind: Any) -> bool:
    return is_dataclass(kind) and bool(_inline_fields(kind))


def _unstructure_inline(kind: Any) -> Callable[[Any], dict[str, Any]]:
    unstructure, inline = make_dict_unstructure_fn(kind, _CODEC), _inline_fields(kind)

    def to_dict(value: Any) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, part in unstructure(value).items():
            content |= part if key in inline else {key: part}
        return content

    return to_dict


def _structure_inline(kind: Any) -> Callable[[Mapping[str, Any], Any], Any]:
    structure, inline = make_dict_structure_fn(kind, _CODEC), _inline_fields(kind)
    return lambda content, _: structure({**content, **dict.fromkeys(inline, content)}, kind)


_CODEC.register_unstructure_hook(float, lambda value: value if math.isfinite(value) else None)
_CODEC.register_structure_hook(float, lambda value, _: math.nan if value is None else float(value))
_CODEC.register_unstructure_hook_factory(
    _is_mapping, lambda _: lambda content: {str(key): to_json(value) for key, value in content.items()}
)
_CODEC.register_unstructure_hook_factory(_has_inline_fields, _unstructure_inline)
_CODEC.register_structure_hook_factory(_has_inline_fields, _structure_inline)
_CODEC.register_unstructure_hook(Skipped, make_dict_unstructure_fn(Skipped, _CODEC, name=override(rename="file")))
_CODEC.register_structure_hook(Skipped, make_dict_structure_fn(Skipped, _CODEC, name=override(rename="file")))
