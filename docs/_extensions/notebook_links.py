"""Below the title of each notebook: links to download it, and to open it elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["links_of", "setup"]

_GITHUB = "https://github.com/"


def links_of(docname: str, repository: str) -> str:
    """One line of Markdown.

    Args:
        docname: Of the notebook, such as ``tutorials/name``.
        repository: Its public address; empty where there is none, and then it can only be downloaded.
    """
    name = docname.rpartition("/")[2]
    links = [f"{{download}}`Download this notebook <{name}.ipynb>`"]
    if repository:
        path = f"blob/main/{docname}.ipynb"
        links.append(f"[its source]({repository}/{path})")
        if repository.startswith(_GITHUB):
            place = repository.removeprefix(_GITHUB)
            links.append(f"[open it in Colab](https://colab.research.google.com/github/{place}/{path})")
            links.append(f"[in nbviewer](https://nbviewer.org/github/{place}/{path})")
    return " · ".join(links)


def _add(app: Sphinx, docname: str, content: list[str]) -> None:
    if Path(app.env.doc2path(docname)).suffix != ".ipynb":
        return
    notebook = json.loads(content[0])
    cell = {
        "cell_type": "markdown",
        "id": "links-of-notebook",
        "metadata": {},
        "source": links_of(docname, app.config.notebook_repository),
    }
    notebook["cells"].insert(1, cell)
    content[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the links when a notebook is read."""
    app.add_config_value("notebook_repository", "", "env")
    app.connect("source-read", _add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
