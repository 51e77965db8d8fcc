"""No class of ``attr/`` escapes the contract."""

import inspect

import pytest
from captum.attr import Attribution
from contract.registry import ENTRIES
from contract.samples import SAMPLES

import captum_paramsal
from captum_paramsal import FilterAttribution, TraceAttribution, attr

BASES = {FilterAttribution, TraceAttribution}
"""What methods, the package's and your own, derive from."""


def exported_classes():
    found = {getattr(attr, name) for name in attr.__all__}
    found |= {member for _, member in inspect.getmembers(attr, inspect.isclass) if not member.__name__.startswith("_")}
    found |= {getattr(captum_paramsal, name) for name in captum_paramsal.__all__}
    ours = {member for member in found if inspect.isclass(member) and member.__module__.startswith("captum_paramsal")}
    return {member for member in ours if issubclass(member, Attribution)}


def test_every_exported_class_has_an_entry():
    missing = exported_classes() - BASES - {entry.cls for entry in ENTRIES if not entry.slow}
    assert not missing, f"add to tests/contract/registry.py: {sorted(c.__name__ for c in missing)}"


def test_every_entry_is_exported_and_named_once():
    ours = {entry.cls for entry in ENTRIES if entry.cls.__module__.startswith("captum_paramsal")}
    assert ours <= exported_classes() - BASES
    names = [entry.name for entry in ENTRIES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("base", sorted(BASES, key=str), ids=lambda base: base.__name__)
def test_every_base_is_exported_and_tried_with_a_method_of_ones_own(base):
    assert base in exported_classes()
    own = {entry.cls for entry in ENTRIES if not entry.cls.__module__.startswith("captum_paramsal")}
    assert any(issubclass(cls, base) for cls in own)


def test_a_filter_attribution_without_a_score_is_abstract():
    with pytest.raises(TypeError, match=r"abstract method '?score"):
        FilterAttribution(SAMPLES["small"]().model)


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_entries_build_what_they_say(entry):
    assert type(entry.build(SAMPLES["small"]())) is entry.cls
