"""Markdown of people, in the pages of others."""

from html.parser import HTMLParser

import pytest

from distillhub.lib import markdown


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "[click](data:text/html;base64,PHNjcmlwdD4=)",
        "![seen](https://elsewhere.example/pixel.png)",
        "<a href='https://x.example' onclick='alert(1)'>x</a>",
        "<style>body{display:none}</style>",
        '[a](https://x.example "t\\" onmouseover=alert(1) ")',
        "<svg/onload=alert(1)>",
        "<iframe src=https://x.example></iframe>",
    ],
)
def test_nothing_in_a_note_runs_or_is_loaded(attack: str) -> None:
    found = _Tags()
    found.feed(markdown.render(attack))
    for tag, attributes in found.tags:
        assert tag in ("p", "a")
        assert attributes.keys() <= {"href", "title", "rel"}
        assert str(attributes.get("href", "https:")).startswith("https:")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_what_a_note_may_hold_is_shown_and_its_headings_fit_below_the_page() -> None:
    table = "|a|b|\n|-|-|\n|1|`2`|\n\n"
    text = f"# Use\n\nSee [docs](https://example.org/a).\n\n{table}- *one*\n- **two**\n"
    html = markdown.render(text, highest=3)
    assert "<h3>Use</h3>" in html
    assert 'href="https://example.org/a"' in html
    assert 'rel="nofollow noopener noreferrer"' in html
    assert "<td><code>2</code></td>" in html
    assert "<li><em>one</em></li>" in html


def test_what_is_too_long_is_told_as_text() -> None:
    assert markdown.render("*a* " * 40_000).startswith('<pre tabindex="0"><code>')
