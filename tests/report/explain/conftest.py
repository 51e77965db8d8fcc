"""The explanation of the tiny net's mistakes, and its page, for each module that reads them."""

import pytest
from report.explain.small_jobs import tiny_explanation
from report.pages import Page

from captum_paramsal.report.explain.page import explain_page


@pytest.fixture(scope="module")
def found():
    return tiny_explanation()


@pytest.fixture(scope="module")
def page(found):
    return Page(explain_page(found))
