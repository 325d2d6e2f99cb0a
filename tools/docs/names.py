"""Links from the names in the text of a built site to the reference."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

CODE = re.compile(
    r"(?P<kept><a\b.*?</a>|<h[1-6]\b.*?</h[1-6]>|<pre\b.*?</pre>)|<code>(?P<name>\w+)(?:\(\))?</code>",
    re.DOTALL,
)


def link_names(site: Path, targets: Mapping[str, str]) -> None:
    """Make a link of each public name in code font, except in headings, links and programs.

    A guide has a link at the first mention of a name, a page of the reference at each.

    Args:
        site: The folder of the site.
        targets: For each name the page that documents it, with an anchor, relative to the site.
    """
    for path in site.rglob("index.html"):
        page = path.relative_to(site).parent.as_posix()
        text = path.read_text()
        path.write_text(linked(text, page, targets))


def linked(text: str, page: str, targets: Mapping[str, str]) -> str:
    """Return the HTML of a page with links at the names in code font."""
    is_reference = page.startswith("reference")
    seen: set[str] = set()

    def link(match: re.Match[str]) -> str:
        name = match["name"]
        if match["kept"] or name not in targets or name in seen:
            return match[0]
        if not is_reference:
            seen.add(name)
        path, _, anchor = targets[name].partition("#")
        return f'<a href="{posixpath.relpath(path, page)}/#{anchor}">{match[0]}</a>'

    head, article, rest = text.partition("<article")
    return head + article + CODE.sub(link, rest)
