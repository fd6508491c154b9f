"""A page as a browser would see it."""

from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use", "rect", "image", "circle"}


class Page(HTMLParser):
    """Collects what a browser would see, and complains about tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.data = ""  # of the document; charts have their own
        self.script = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.script = dict(attrs).get("id") or "code"
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "action", "srcset"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.data += "" if self.script.startswith(("chart-", "code")) else data
        elif not self.open or self.open[-1] != "style":
            self.text.append(data)


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page
