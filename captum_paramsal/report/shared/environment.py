"""The templates, and how numbers are written in them."""

from __future__ import annotations

import math
from functools import cache

import jinja2
from markupsafe import Markup, escape

from captum_paramsal.report.shared.glossary import meaning, term


@cache
def environment() -> jinja2.Environment:
    """The templates of this package, which escape whatever they are given."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("captum_paramsal.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["percent"] = _percent
    made.filters["probability"] = probability
    made.filters["finely"] = _finely
    made.filters["breakable"] = _breakable
    made.filters["thousands"] = lambda number: f"{number:,}"
    made.globals |= {"term": term, "meaning": meaning}
    return made


def probability(p_value: float) -> str:
    """A p-value for people.

    >>> probability(0.0213), probability(0.00000213), probability(0.0)
    ('0.021', '2·10⁻⁶', '0')
    """
    if p_value == 0 or p_value >= 0.001:
        return f"{p_value:.2g}"
    digit, _, power = f"{p_value:.0e}".partition("e-")
    raised = str(int(power)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digit}·10⁻{raised}"


def _breakable(name: str) -> Markup:
    """A name with underscores, which may go on in the next line after each.

    >>> print(_breakable("grad_cam<"))
    grad_<wbr>cam&lt;
    """
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _percent(share: float) -> str:
    """A share for people.

    >>> _percent(0.72345), _percent(0.0001), _percent(0.0)
    ('72.3 %', '< 0.1 %', '0 %')
    """
    if share == 0:
        return "0 %"
    return "< 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def _finely(share: float) -> str:
    """A small share for people, with two digits.

    >>> _finely(0.00098), _finely(0.01), _finely(0.0), _finely(0.452), _finely(0.0000021)
    ('0.098 %', '1 %', '0 %', '45 %', '0.00021 %')
    """
    if share == 0:
        return "0 %"
    digits = max(0, 1 - math.floor(math.log10(100 * share)))
    text = f"{100 * share:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"
