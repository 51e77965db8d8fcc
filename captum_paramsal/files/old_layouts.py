"""Descriptions of files that version 0.1 wrote, as they are written now.

What does not match its old checksum gets none, so that the file is refused as any other that is damaged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from torch import Tensor

from captum_paramsal.files.file_kind import checksum, sealed


def upgraded(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Of a tensor file, whose metadata held the description and the checksum under a key each."""
    if metadata.get("kind") == "trace":
        return json.dumps(sealed(_trace(metadata), tensors))
    text = next((text for key, text in metadata.items() if key != "checksum"), "")
    description = {**_object(text), "checksum": None}
    if metadata.get("checksum") in (checksum(text, tensors), _checksum_of_reference(text, tensors)):
        description = sealed(description, tensors)
    return json.dumps(description)


def upgraded_json(text: str) -> str:
    """Of a JSON file, now or with version 0.1."""
    content = _object(text)
    if content.keys() == {"weights", "history"}:
        return json.dumps(sealed({"format": "captum_paramsal.weight_search", "version": 1, **content}, {}))
    if content.keys() == {"treatment", "checksum"} and isinstance(content["treatment"], dict):
        whole = content["checksum"] == checksum(json.dumps(content["treatment"]), {})
        return json.dumps(sealed(content["treatment"], {}) if whole else content["treatment"])
    return text


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _trace(metadata: Mapping[str, str]) -> dict[str, Any]:
    sizes = {key.removeprefix("size/"): text for key, text in metadata.items() if key.startswith("size/")}
    layers = metadata.get("layers", "").split("\n")
    return {
        "format": "captum_paramsal.trace",
        "version": 1,
        "shape": _numbers(metadata.get("shape", "")),
        "sizes": {name: _numbers(sizes.get(name, "")) for name in layers},
    }


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split() if word.isdecimal()]


def _checksum_of_reference(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = blake2b(text.encode(), digest_size=16)
    for name in ("mean", "deviations", "tail", "tail_floor"):
        if name in tensors:
            digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()
