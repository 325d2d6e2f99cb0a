"""The pages of the site, as Markdown: those of docs/, other documents of the checkout, and the reference.

A link between documents becomes a link between pages. A link to another file of the checkout leads to the
repository if its URL is known, and is plain text otherwise.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

import yaml

from tools.docs.reference import FOLDER, ROOT, reference_page, summary_of

CONFIG = ROOT / "docs" / "site.yml"

ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
    "tools/README.md": "tools.md",
}
"""The documents outside of docs/ that are pages, with the names of their pages."""

FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)

LINK = re.compile(r"\[(?P<text>(?:!\[[^\[\]]*\]\([^)\s]+\)|[^\[\]])*)\]\((?P<target>[^)\s]+)\)")
"""A link, whose text may be a picture."""

ATTRIBUTE = re.compile(r'\b(?P<name>src|srcset|href)="(?P<target>[^"]+)"')


def navigation() -> dict[str, list[tuple[str, str]]]:
    """Return the sections of the navigation, each with the titles and paths of its pages.

    Pages outside of any section are in the section "Start".
    """
    sections: dict[str, list[tuple[str, str]]] = {"Start": []}
    for entry in yaml.safe_load(CONFIG.read_text())["nav"]:
        ((title, inside),) = entry.items()
        if isinstance(inside, str):
            sections["Start"].append((title, inside))
        else:
            sections[title] = [pair for page in inside for pair in page.items()]
    return sections


def documents() -> dict[str, str]:
    """Return the documents of the checkout that are pages, by the path of the page."""
    pages = {path.name: f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    return pages | {page: document for document, page in ELSEWHERE.items() if (ROOT / document).exists()}


def listed_pages() -> list[str]:
    """Return the paths of the pages in the navigation, in order."""
    return [path for pages in navigation().values() for _, path in pages]


def misplaced() -> list[str]:
    """Return what is wrong with the navigation: pages it does not have, and entries without a page."""
    listed = listed_pages()
    pages = {*documents(), *(path for path in listed if path.startswith(FOLDER))}
    missing = [f"{path} is not in the navigation, docs/site.yml" for path in sorted(pages - {*listed})]
    twice = [f"{path} is twice in docs/site.yml" for path in sorted({*listed}) if listed.count(path) > 1]
    unknown = [f"docs/site.yml names {path}, which is no page" for path in listed if path not in pages]
    return [*missing, *twice, *unknown]


def page_text(path: str, repository_url: str | None = None) -> str:
    """Return the Markdown of a page.

    Args:
        path: Its path in the navigation.
        repository_url: Where the repository is shown, such as `https://github.com/OWNER/NAME`.
    """
    if path.startswith(FOLDER):
        return reference_page(path)
    document = documents()[path]
    text = relinked((ROOT / document).read_text(), document, repository_url)
    return with_programs(text) if path == "examples.md" else text


def relinked(text: str, document: str, repository_url: str | None) -> str:
    """Return the text of a document with the links of its page. Code blocks stay as they are."""

    def link(match: re.Match[str]) -> str:
        target = target_of(match["target"], document, repository_url)
        text = LINK.sub(link, match["text"])
        return f"[{text}]({target})" if target else text

    def attribute(match: re.Match[str]) -> str:
        return f'{match["name"]}="{target_of(match["target"], document, repository_url) or "#"}"'

    parts = FENCED.split(text)
    parts[::2] = [ATTRIBUTE.sub(attribute, LINK.sub(link, part)) for part in parts[::2]]
    return "".join(parts)


def target_of(target: str, document: str, repository_url: str | None) -> str | None:
    """Return where a link of a document leads on its page; None if there is nothing to lead to."""
    if re.match(r"[a-z]+:|#", target):
        return target
    path, _, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(document), path))
    after = f"#{anchor}" if anchor else ""
    if path.endswith(".py") and path.startswith("examples/"):
        return f"examples.md#{anchor_of(path)}"
    if page := {document: page for page, document in documents().items()}.get(path):
        return f"{page}{after}"
    if path.startswith("docs/") and (ROOT / path).is_file():
        return path.removeprefix("docs/")
    return repository_url and f"{repository_url}/blob/main/{path}{after}"


def with_programs(text: str) -> str:
    """Return the list of examples with links to the programs, and the programs below it."""
    programs = sorted((ROOT / "examples").rglob("*.py"), key=lambda path: (len(path.parts), path))
    sections = []
    for program in programs:
        path = program.relative_to(ROOT)
        name, anchor = path.relative_to("examples"), anchor_of(str(path))
        text = text.replace(f"| `{name}` |", f"| [`{name}`](#{anchor}) |")
        sections.append(f"## `{name}` {{ #{anchor} }}\n\n```python\n{program.read_text()}```\n")
    return "\n".join([text, *sections])


def anchor_of(example: str) -> str:
    """Return the anchor of an example on the page of the examples."""
    return example.removeprefix("examples/").removesuffix(".py").replace("/", "-").replace("__", "")


def summary(path: str, text: str) -> str:
    """Return a line on a page for `llms.txt`: its title if that is a question, or else its first sentence."""
    if path.startswith(FOLDER):
        return summary_of(path)
    title, _, rest = text.partition("\n")
    if title.endswith("?"):
        return title.removeprefix("# ")
    paragraphs = re.sub(r"^#.*$", "", FENCED.sub("", rest), flags=re.MULTILINE).split("\n\n")
    lines = (" ".join(each.split()) for each in paragraphs)
    prose = next(line for line in lines if line and line[0] not in "|<![")
    sentence = re.split(r"(?<=[.?!:]) ", LINK.sub(r"\g<text>", prose), maxsplit=1)[0]
    return re.sub(":$", ".", sentence)


def settings(texts: dict[str, str], *, site_url: str, repository_url: str | None) -> dict[str, Any]:
    """Return the settings of zensical.

    Args:
        texts: The pages by path.
        site_url: Where the site will be, with a slash at the end.
        repository_url: Where the repository is shown.
    """
    given = yaml.safe_load(CONFIG.read_text())
    sections = {
        title: [{path: summary(path, texts[path])} for _, path in pages]
        for title, pages in navigation().items()
    }
    plugins = given["plugins"]
    plugins["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    plugins["llmstxt"] = {"full_output": "llms-full.txt", "sections": sections}
    repository = {"repo_url": repository_url} if repository_url else {}
    return {**given, **repository, "site_url": site_url, "docs_dir": "pages", "site_dir": "site"}
