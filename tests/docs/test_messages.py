"""The page of messages has what the package says, so that a search finds it."""

import re

import pytest
from docs.extensions import extension_named
from docs.pages import DOCS, blocks_of

PASSED_ON = {  # what is said there was said elsewhere before, or is for no user
    *("files/atomic.py", "files/tensor_file.py", "graph/tail_network.py", "hooks/layer_watch.py", "hooks/recorder.py"),
    *("profiles/default_layers.py", "repair/interventions/checks.py", "sources/classes.py", "sources/tensors.py"),
}


@pytest.fixture(scope="module")
def messages():
    return list(extension_named("messages").messages_in())


def test_nearly_every_statement_has_its_words(messages):
    assert len({(message.kind, message.text) for message in messages}) > 550
    assert {message.file for message in messages if not message.text} <= PASSED_ON
    assert sum(not message.text for message in messages) <= 15


def printed():
    """Messages of the page on troubleshooting, which are those that are printed."""
    for block in blocks_of(DOCS / "troubleshooting.md"):
        if block.language == "text":
            said = re.split(r"^(\w+(?:Error|Warning)): ", block.code, flags=re.MULTILINE)[1:]
            yield from zip(said[::2], (" ".join(text.split()) for text in said[1::2]), strict=True)


@pytest.mark.parametrize(("kind", "text"), list(printed()))
def test_what_is_printed_is_found(kind, text, messages):
    """Up to where PyTorch's own words begin."""
    start = text.partition("[...]")[0]
    words = [message.text.split("…") for message in messages if message.text]
    assert any(goes_on(start, parts) for parts in words), f"{kind}: {text}"


def goes_on(start, parts):
    """Whether what is written of a message, with anything between its parts, can begin so."""
    for part in parts:
        place = start.find(part) if part else 0
        if place < 0:
            return start.startswith(parts[0]) and len(parts[0]) > 15
        start = start[place + len(part) :]
    return True
