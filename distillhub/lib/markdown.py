"""Markdown that people write, as HTML that a page may hold.

Raw HTML is text here, pictures of elsewhere are links, and what comes of it is sanitised once more
by nh3: a note runs nothing and loads nothing in the browser of who reads it.
"""

from functools import lru_cache
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from distillhub.lib.later import Later

markdown_it = Later("markdown_it")
nh3 = Later("nh3")

LONGEST = 100_000  # characters that are rendered; what is longer stays text

TAGS = frozenset(
    {"p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre"}
    | {"blockquote", "ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td"}
)
#: Of a table, where its columns stand; the class is ours, for styles.
ATTRIBUTES: dict[str, set[str]] = {"a": {"href", "title"}, "ol": {"start"}}
#: What may be wider than the page scrolls, and can be reached by keyboard.
SCROLLED = {"pre": {"tabindex": "0"}, "table": {"tabindex": "0"}}
SCHEMES = {"http", "https", "mailto"}


def render(text: str, *, highest: int = 2) -> SafeString:
    """As HTML. No heading is above the level `highest`: the first is a page's own."""
    if len(text) > LONGEST:
        text = f"    {text[:LONGEST]}"
    tokens = _parser().parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{max(highest, int(token.tag[1]))}"
    html: str = _parser().renderer.render(tokens, _parser().options, {})
    clean: str = nh3.clean(
        html,
        tags=set(TAGS),
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        set_tag_attribute_values=SCROLLED,
        link_rel="nofollow noopener noreferrer",
    )
    return mark_safe(clean)  # noqa: S308 - sanitised in the line above


@lru_cache(maxsize=1)
def _parser() -> Any:
    """CommonMark with tables; no raw HTML, and no pictures: they would be asked for elsewhere."""
    return markdown_it.MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
