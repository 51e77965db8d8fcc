"""Numbers within bounds, for argparse."""

from __future__ import annotations

import argparse


def natural(text: str) -> int:
    """A whole number of at least 0."""
    return _whole(text, at_least=0)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return _whole(text, at_least=1)


def several(text: str) -> int:
    """A whole number of at least 2."""
    return _whole(text, at_least=2)


def strength(text: str) -> float:
    """A finite number of at least 0."""
    number = _number(text)
    if not 0 <= number < float("inf"):
        message = f"expected a number of at least 0, got {text}"
        raise argparse.ArgumentTypeError(message)
    return number


def step(text: str) -> float:
    """A finite number above 0."""
    number = _number(text)
    if not 0 < number < float("inf"):
        message = f"expected a number above 0, got {text}"
        raise argparse.ArgumentTypeError(message)
    return number


def rate(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    number = _number(text)
    if not 0 < number < 1:
        message = f"expected a number between 0 and 1, got {text}"
        raise argparse.ArgumentTypeError(message)
    return number


def share(text: str) -> float:
    """A number from 0 to 1."""
    number = _number(text)
    if not 0 <= number <= 1:
        message = f"expected a number from 0 to 1, got {text}"
        raise argparse.ArgumentTypeError(message)
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        message = f"expected a number, got '{text}'"
        raise argparse.ArgumentTypeError(message) from None


def _whole(text: str, *, at_least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        message = f"expected a whole number, got '{text}'"
        raise argparse.ArgumentTypeError(message) from None
    if number < at_least:
        message = f"expected a whole number of at least {at_least}, got {text}"
        raise argparse.ArgumentTypeError(message)
    return number
