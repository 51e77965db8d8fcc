"""What a test sees of a report's page."""

from html.parser import HTMLParser

VOID = {"br", "img", "input", "link", "meta", "rect", "path", "use", "hr", "wbr"}


class Page(HTMLParser):
    """Collects elements, and refuses tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["script"]:
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def without_text(page):
    """Pictures and drawings without words for a person who cannot see them, and not hidden from her either."""
    drawn = [one for one in page.all("svg") if one.get("aria-hidden") != "true"]
    stacks = [one for one in page.all("div") if one.get("class", "").startswith("stack")]
    named = [one for one in (*drawn, *stacks) if one.get("role") == "img" and one.get("aria-label")]
    glows = [one for one in page.all("img") if one.get("class", "").startswith("over")]
    images = [one for one in page.all("img") if one not in glows and not one["alt"]]
    return [one for one in (*drawn, *stacks) if one not in named] + images
