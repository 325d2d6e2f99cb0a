"""Links of a built site that lead nowhere, and requests that its pages make to other hosts."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

HOST = "http://site"


class Page(HTMLParser):
    """The ids and links of a page.

    Attributes:
        ids: The anchors of the page.
        links: The URLs that a reader can follow, as they are written.
        loaded: The URLs that a browser requests when it shows the page, as they are written.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the id and the URL of a tag."""
        given = {name: value for name, value in attrs if value}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "alternate"):
            self.loaded.append(given.get("href", ""))
        if tag in ("script", "img", "source", "iframe"):
            self.loaded += [given[name] for name in ("src", "srcset") if name in given]


def broken_links(site: Path) -> Iterator[str]:
    """Yield a message for each link of a built site to a page or an anchor that it does not have.

    Links to other hosts are not followed; what a page loads from one is an error too.

    Args:
        site: The folder of the site.
    """
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        here = f"{HOST}/{path.relative_to(site).as_posix()}".removesuffix("index.html")
        for url in [*page.links, *page.loaded]:
            target = urlsplit(urljoin(here, url))
            if f"{target.scheme}://{target.netloc}" != HOST:
                if url in page.loaded and target.scheme != "data":
                    yield f"{path.relative_to(site)} loads {url} from another host"
                continue
            file = site / unquote(target.path).lstrip("/")
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file():
                yield f"{path.relative_to(site)} has a link to {url}, which does not exist"
            elif target.fragment and unquote(target.fragment) not in pages.get(file, page).ids:
                yield f"{path.relative_to(site)} has a link to {url}, which has no such anchor"
