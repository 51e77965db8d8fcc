"""Schemas as tests apply them: a key that is not described is a mistake here, and not for readers."""

from jsonschema import Draft202012Validator


def closed(schema):
    """The schema, and no key that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    is_object = schema.get("type") == "object" and "properties" in schema and "additionalProperties" not in schema
    more = {"additionalProperties": False} if is_object else {}
    return {key: closed(part) for key, part in schema.items()} | more


def complaints(schema, content):
    """What a strict reader says, each with the place in the content."""
    found = Draft202012Validator(closed(schema)).iter_errors(content)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


def accepts(schema, content, *, closed=True):
    """Whether a reader accepts it."""
    return not complaints(schema, content) if closed else Draft202012Validator(schema).is_valid(content)
