"""Hooks are registered and flags of models flipped in ``hooks/`` alone: one place that puts everything back."""

import ast
import re
from pathlib import Path

import pytest

import captum_paramsal

PACKAGE = Path(captum_paramsal.__file__).parent
FLIPS = {"requires_grad_", "train", "eval", "set_grad_enabled", "set_fastpath_enabled", "use_deterministic_algorithms"}
FLAGS = {"training", "requires_grad"}
FRESH = {"clone", "detach"}
HOOK = re.compile("register_(hook|.*(forward|backward|grad|state_dict).*hook)")

EXEMPT = {
    "demo/net.py": "a model that it has just built",
    "demo/train.py": "a training script for a model of its own",
    "metrics/randomised_models.py": "its own copy of the model",
    "repair/treatment/strengths.py": "the copy that a treatment trains",
    "repair/treatment/training.py": "the copy that a treatment trains",
    "repair/treatment/treat.py": "the copy that a treatment trains",
    "comparison/presets/relevance.py": "the copy whose batch norms became a part of other layers",
    "sources/models.py": "a model that it has just built",
}


def flips_of(source):
    """Lines that register a hook or flip a flag, other than of a tensor that the same expression makes."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            made = getattr(node.func, "value", None)
            fresh = isinstance(made, ast.Call) and getattr(made.func, "attr", "") in FRESH
            flips = called in FLIPS and not (called == "requires_grad_" and fresh)
            lines += [node.lineno] if flips or HOOK.fullmatch(called) else []
        targets = node.targets if isinstance(node, ast.Assign) else []
        lines += [node.lineno for each in targets if isinstance(each, ast.Attribute) and each.attr in FLAGS]
    return lines


def files():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "hooks"]


def test_no_hook_and_no_flag_outside_hooks():
    flips = {str(path.relative_to(PACKAGE)): flips_of(path.read_text(encoding="utf-8")) for path in files()}
    assert {name: lines for name, lines in flips.items() if lines and name not in EXEMPT} == {}


@pytest.mark.parametrize("name", EXEMPT)
def test_no_exemption_is_idle(name):
    assert flips_of((PACKAGE / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "line",
    [
        "weight.requires_grad_()",
        "weight.requires_grad = True",
        "model.train()",
        "model.eval()",
        "model.training = False",
        "torch.set_grad_enabled(False)",
        "layer.register_forward_hook(print)",
        "layer.register_full_backward_pre_hook(print)",
        "register_multi_grad_hook(tensors, print)",
    ],
)
def test_the_scan_sees(line):
    assert flips_of(line) == [1]


@pytest.mark.parametrize("line", ["leaf = tensor.detach().requires_grad_()", "with torch.no_grad(): pass"])
def test_the_scan_lets_pass(line):
    assert flips_of(line) == []
