"""One version everywhere, and the versions that results keep."""

from importlib.metadata import version
from pathlib import Path

import captum
import torch

import captum_paramsal
from captum_paramsal.versions import versions

ROOT = Path(__file__).resolve().parents[1]


def test_what_results_keep():
    expected = {"captum_paramsal": captum_paramsal.__version__, "captum": captum.__version__}
    assert versions() == {**expected, "torch": torch.__version__}


def test_the_installed_package_and_the_citation_have_the_same():
    assert version("captum-paramsal") == captum_paramsal.__version__
    assert f"version: {captum_paramsal.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
