"""The little Markdown that the methods text uses, as HTML: headings, paragraphs, code blocks, `code`."""

from __future__ import annotations

import re

from markupsafe import Markup, escape


def to_html(text: str, level: int = 2) -> Markup:
    """Turn methods text into HTML.

    Parameters
    ----------
    text : str
        Markdown; everything but headings, paragraphs, fenced blocks and inline code is shown as it is written.
    level : int
        What is added to the level of a heading, since the text stands inside a page with headings of its own.
    """
    parts = re.split(r"^```\w*\n(.*?)^```\n?", text, flags=re.MULTILINE | re.DOTALL)
    blocks = []
    for index, part in enumerate(parts):
        if index % 2:
            blocks.append(Markup('<pre tabindex="0"><code>{}</code></pre>').format(part))
        else:
            blocks += [_block(block, level) for block in re.split(r"\n\s*\n", part) if block.strip()]
    return Markup("\n").join(blocks)


def _block(block: str, level: int) -> Markup:
    heading = re.fullmatch(r"(#+) (.*)", block.strip())
    if heading:
        rank = min(len(heading[1]) + level, 6)
        return Markup("<h{0}>{1}</h{0}>").format(rank, heading[2])
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(" ".join(block.split()))))
    return Markup("<p>") + Markup(marked) + Markup("</p>")  # noqa: S704 - escaped before the code marks were put in
