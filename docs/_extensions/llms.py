"""``llms.txt``: what is in these pages, for programs that read them, from the pages themselves (https://llmstxt.org)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["llms_text", "pages_by_caption", "setup"]

_TOCTREE = re.compile(r"^```\{toctree\}\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```.*?^```$|^\$\$.*?\$\$$|^<!--.*?-->$", re.MULTILINE | re.DOTALL)
_ROLE = re.compile(r"\{[\w:]+\}`(?:(?P<text>[^`<]+?)\s*<[^`>]+>|~?(?P<name>[^`]+))`")
_LINK = re.compile(r"!?\[(?P<text>[^\]]*)\]\([^)]+\)")

ABOUT = """\
Install with `pip install captum-paramsal` (Python 3.10 or newer, PyTorch). The shortest program:

    from captum_paramsal import ParameterSaliency, Reference
    reference = Reference.fit(model, held_out_batches)      # (images, true labels), hundreds of images
    saliency = ParameterSaliency(model, reference)
    scores = saliency.attribute(images, target=true_labels)  # (N, F): one row an image, one column a filter
    saliency.filters.top(scores, k=5)                        # which layer and channel

- To explain a mistake, `target` is the true label. Without one it is the prediction, which is another question.
- The reference is fitted on held-out images, none that the model was trained on. It belongs to one set of weights.
- A high score says that changing the filter would change the loss unusually much: a suspect, to be tested.
- Models are left as they were. Any classifier of images goes; what a model returns is told by `output=`.
- Every error says what was expected, what came and what to do.
- The command `captum-paramsal explain` writes a report of a built-in demo without arguments.

Each link below is the Markdown of a page; without `_sources/` and with `.html` for `.md.txt` it is the page itself."""


def pages_by_caption(index: str) -> Iterator[tuple[str, list[str]]]:
    """Captions of the contents, each with the pages below it, from the Markdown of the first page."""
    for found in _TOCTREE.finditer(index):
        lines = found["body"].split("\n")
        caption = next((line.partition(":caption:")[2].strip() for line in lines if ":caption:" in line), "Pages")
        yield caption, [line.strip() for line in lines if line.strip() and not line.startswith(":")]


def llms_text(docs: Path, name: str, summary: str) -> str:
    """The file: title, summary, what to know, and a section of links for each caption of the contents.

    Args:
        docs: Folder of the pages.
        name: Of the project.
        summary: In one sentence.
    """
    parts = [f"# {name}", f"> {summary}", ABOUT]
    for caption, pages in pages_by_caption((docs / "index.md").read_text(encoding="utf-8")):
        links = [link for page in pages if (link := _link(docs, page))]
        parts.append(f"## {caption}\n\n" + "\n".join(links))
    return "\n\n".join(parts) + "\n"


def _link(docs: Path, page: str) -> str:
    """One line of a section; nothing for a notebook, whose source is no Markdown."""
    source = docs / f"{page}.md"
    if not source.is_file():
        return ""
    text = source.read_text(encoding="utf-8")
    included = re.search(r"^```\{include\} (?P<path>\S+)", text)
    if included:
        text = (source.parent / included["path"]).read_text(encoding="utf-8")
    title, sentence = _title_and_sentence(text)
    return f"- [{title}](_sources/{page}.md.txt): {sentence}" if sentence else f"- [{title}](_sources/{page}.md.txt)"


def _title_and_sentence(text: str) -> tuple[str, str]:
    """The first heading of a page, and its first sentence of prose."""
    prose = _BLOCK.sub("", text)
    title, _, rest = prose.partition("\n")
    paragraphs = (" ".join(part.split()) for part in rest.split("\n\n"))
    first = next((part for part in paragraphs if part and part[0] not in "#|*<:-"), "")
    plain = _LINK.sub(lambda found: found["text"], _ROLE.sub(lambda found: found["text"] or found["name"], first))
    # Initials end with a full stop, too, and no sentence with them.
    sentence = re.split(r"(?<=[^A-Z\s][.?!])\s", plain, maxsplit=1)[0]
    return title.lstrip("# ").strip(), sentence.replace("*", "")


def _write(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        text = llms_text(Path(app.srcdir), app.config.project, app.config.llms_summary)
        Path(app.outdir, "llms.txt").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the file where the pages are."""
    app.add_config_value("llms_summary", "", "html")
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
