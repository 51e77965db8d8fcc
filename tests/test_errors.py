"""Warnings name the line that called the package, whoever calls whom in between."""

import ast
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from captum.metrics import sensitivity_max
from torch import nn
from tqdm.auto import tqdm

import captum_paramsal
from captum_paramsal import ParameterSaliency
from captum_paramsal.errors import DoubleSoftmaxWarning, warn_caller
from captum_paramsal.metrics import Sparsity

PACKAGE = Path(captum_paramsal.__file__).parent
INNER = """
def told():
    warn_caller("something", UserWarning)


def method(inputs, **_):
    told()
    return inputs


def passed(run):
    return run()


@torch.no_grad()
def without_gradients():
    told()


@contextmanager
def around():
    told()
    yield


def batches():
    told()
    yield 1
"""


@pytest.fixture
def inner():
    """Functions as of a file of the package."""
    names = {
        "__name__": "captum_paramsal.inner",
        "warn_caller": warn_caller,
        "torch": torch,
        "contextmanager": contextmanager,
    }
    exec(compile(INNER, "inner.py", "exec"), names)  # noqa: S102
    return names


def enter(inner):
    with inner["around"]():
        pass


WAYS = {
    "at once": lambda inner: inner["told"](),
    "two deep": lambda inner: inner["passed"](inner["told"]),
    "by Captum": lambda inner: sensitivity_max(inner["method"], torch.rand(1, 2), n_perturb_samples=1),
    "by PyTorch's decorator": lambda inner: inner["without_gradients"](),
    "in a context": enter,
    "in a loop": lambda inner: list(tqdm(inner["batches"](), disable=True)),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_caller_is_named(way, inner):
    with pytest.warns(UserWarning, match="something") as caught:
        WAYS[way](inner)
    assert {one.filename for one in caught} == {__file__}


def test_a_callback_of_the_user_is_the_caller(inner):
    def called():
        return inner["told"]()

    with pytest.warns(UserWarning, match="something") as caught:
        inner["passed"](called)
    assert [(one.filename, one.lineno) for one in caught] == [(__file__, called.__code__.co_firstlineno + 1)]


def test_each_line_is_told_once_unless_asked_otherwise(inner):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            inner["told"]()
        inner["told"]()
    first, second = (one.lineno for one in caught)
    assert second == first + 1


def test_warnings_of_methods_name_the_caller():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(18, 3), nn.Softmax(dim=1))
    with pytest.warns(DoubleSoftmaxWarning) as caught:
        ParameterSaliency(model, layers=["0"]).attribute(torch.rand(2, 1, 5, 5), target=0)
    assert {one.filename for one in caught} == {__file__}


def test_warnings_of_classes_and_old_names_name_the_caller():
    with pytest.warns(DeprecationWarning, match="yardsticks") as caught:

        class Older(Sparsity):
            def yardsticks(self, case):
                del case
                return {}

    assert Older.__name__
    with pytest.warns(DeprecationWarning, match="old name"):
        from captum_paramsal.metrics import PointingGame  # noqa: F401, PLC0415
    assert {one.filename for one in caught} == {__file__}


def test_everything_warns_in_this_way():
    for path in PACKAGE.rglob("*.py"):
        calls = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
        names = {func.id if isinstance(func, ast.Name) else getattr(func, "attr", "") for func in calls}
        assert "warn" not in names, path
