"""The folder of the pages' scripts, at the end of the path, since some are named like folders of tests."""

import sys

from docs.pages import DOCS

sys.path.append(str(DOCS / "evidence"))
