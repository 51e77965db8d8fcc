"""The page on discernible neurons lists every operation that has a rule."""

import operator

import pytest
import torch
from docs.extensions import extension_named
from torch import nn

from captum_paramsal.graph import Passing, registered_operations, registry as trace_rules, trace_rule


def extension():
    pytest.importorskip("sphinx", reason="the pages are built with Sphinx")
    return extension_named("trace_rules")


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (nn.ReLU, "nn.ReLU"),
        (nn.functional.relu, "functional.relu"),
        (torch.cat, "torch.cat"),
        (operator.add, "operator.add"),
        (nn.functional.max_pool2d, "functional.max_pool2d"),
        ("view", ".view()"),
        ("torchvision.ops.stochastic_depth.stochastic_depth", "torchvision.ops.stochastic_depth.stochastic_depth"),
    ],
)
def test_names(operation, name):
    assert extension().name_of(operation) == name


def test_every_operation_is_listed_once_with_what_its_rule_says():
    own = [
        operation
        for operation, rule in registered_operations().items()
        if type(rule).__module__.startswith("captum_paramsal.")
    ]
    found = extension().operations_by_rule()
    assert sorted(name for _, names in found.values() for name in names) == sorted(map(extension().name_of, own))
    assert all(about.endswith(".") for about, _ in found.values())
    assert "functional.conv2d" in found["Convolution"][1]


def test_a_rule_of_somebody_else_is_not_listed(monkeypatch):
    monkeypatch.setattr(trace_rules, "_rules", dict(trace_rules._rules))
    before = extension().operations_by_rule()

    class Own(nn.Module):
        pass

    @trace_rule(Own)
    class OwnRule(Passing):
        """Somebody else's."""

    assert Own in registered_operations()
    assert extension().operations_by_rule() == before
