"""The site has every page and every public name, and its links lead somewhere."""

import re

import pytest
import yaml

import openai_sessions
from tests.docs.markdown import code_blocks
from tests.examples.stand_in import ROOT
from tools.docs import __main__ as tool
from tools.docs.links import broken_links
from tools.docs.names import linked
from tools.docs.pages import (
    documents,
    listed_pages,
    misplaced,
    navigation,
    page_text,
    relinked,
    settings,
    summary,
)
from tools.docs.reference import (
    ELSEWHERE,
    FOLDER,
    anchors,
    facade_names,
    public_modules,
    public_names,
    reference_page,
)

SITE_URL = "https://docs.example/"
REPOSITORY_URL = "https://github.example/owner/name"

GENERATED = {f"{FOLDER}command-line.md"}


def directives():
    """Return the paths of all objects that the reference documents."""
    pages = [path for path in listed_pages() if path.startswith(FOLDER) and path not in GENERATED]
    return [path for page in pages for path in re.findall(r"^::: (\S+)", reference_page(page), re.MULTILINE)]


def test_every_page_is_in_the_navigation():
    assert [] == misplaced()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda nav: nav.pop(), "mutants.md is not in the navigation"),
        (lambda nav: nav.append({"Twice": "index.md"}), "index.md is twice"),
        (lambda nav: nav.append({"No": "no.md"}), "no.md, which is no page"),
    ],
)
def test_navigation_that_is_wrong(change, message, monkeypatch, tmp_path):
    config = yaml.safe_load((ROOT / "docs/site.yml").read_text())
    change(config["nav"])
    (tmp_path / "site.yml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr("tools.docs.pages.CONFIG", tmp_path / "site.yml")
    assert message in "\n".join(misplaced())


def paths_of(module, name):
    """Return the paths under which a public name may be documented: those by which users import it."""
    return {f"openai_sessions.{each}{name}" for each in ("", f"{ELSEWHERE.get(module, module)}.")}


def test_every_public_name_is_in_the_reference():
    documented = {*directives()}
    modules = [name for name in public_modules() if ELSEWHERE.get(name) != "command-line"]
    public = [(module, name) for module in modules for name in public_names(module)]
    assert len(public) > 100
    assert [] == [(module, name) for module, name in public if not documented & paths_of(module, name)]


def test_names_of_the_package_are_documented_under_its_name():
    assert openai_sessions.__all__ == [*facade_names()]
    assert {*directives()} >= {f"openai_sessions.{name}" for name in openai_sessions.__all__}


def test_reference_names_nothing_private_or_twice():
    assert [] == [path for path in directives() if "._" in path]
    assert len(directives()) == len({*directives()})


def test_names_of_a_module_without_all_are_those_it_defines():
    assert public_names("errors")[:2] == ["SessionError", "UnsettledWriteError"]
    assert "Mapping" not in public_names("errors")


def test_every_page_has_a_title_and_a_summary():
    texts = {path: page_text(path) for path in {*listed_pages()} - GENERATED}
    assert [] == [path for path, text in texts.items() if not text.startswith("# ")]
    assert [] == [path for path, text in texts.items() if not 10 < len(summary(path, text)) < 200]


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ("[a](turns.md#forks)", "[a](turns.md#forks)"),
        ("[a](../README.md#install)", "[a](index.md#install)"),
        ("[a](../CHANGELOG.md)", "[a](changelog.md)"),
        ("[a](../examples/agents_sdk/usage.py)", "[a](examples.md#agents_sdk-usage)"),
        ("[a](../tests/conftest.py)", "a"),
        ("[a](https://pypi.org)", "[a](https://pypi.org)"),
        ("[a](#here)", "[a](#here)"),
        ('<img src="performance.svg">', '<img src="performance.svg">'),
        ("![a](performance.svg)", "![a](performance.svg)"),
        ("[![a](../docs/serve.png)](../README.md)", "[![a](serve.png)](index.md)"),
        ("```\n[a](../tests/conftest.py)\n```", "```\n[a](../tests/conftest.py)\n```"),
    ],
)
def test_links_of_a_document_become_links_of_its_page(link, page):
    assert page == relinked(link, "docs/turns.md", None)


def test_links_of_the_readme_become_links_of_its_page():
    text = '[a](docs/turns.md) <img src="docs/serve.png"> [b](LICENSE)'
    assert '[a](turns.md) <img src="serve.png"> b' == relinked(text, "README.md", None)
    linked = relinked(text, "README.md", REPOSITORY_URL)
    assert f'[a](turns.md) <img src="serve.png"> [b]({REPOSITORY_URL}/blob/main/LICENSE)' == linked


def test_examples_are_shown_whole_below_their_list():
    page = page_text("examples.md")
    programs = [path.read_text() for path in ROOT.glob("examples/**/*.py")]
    assert sorted(programs) == sorted(code_blocks(page, "python"))
    assert "| [`agents_sdk/usage.py`](#agents_sdk-usage) | count tokens |" in page


TARGETS = {"Turn": "reference/session#openai_sessions.Turn"}

LINK = '<a href="../reference/session/#openai_sessions.Turn"><code>Turn</code></a>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p><code>Turn</code> <code>Turn</code>", f"<p>{LINK} <code>Turn</code>"),
        ("<h2><code>Turn</code></h2><code>Turn</code>", f"<h2><code>Turn</code></h2>{LINK}"),
        ('<a href="x">a <code>Turn</code></a>', '<a href="x">a <code>Turn</code></a>'),
        (
            "<pre>\n<code>Turn</code></pre><code>None</code>",
            "<pre>\n<code>Turn</code></pre><code>None</code>",
        ),
    ],
)
def test_first_mention_of_a_name_has_a_link(text, expected):
    before = "<code>Turn</code><article>"
    assert before + expected == linked(before + text, "turns", TARGETS)


def test_call_of_a_function_has_a_link():
    text = linked("<article><code>copy_session()</code>", ".", {"copy_session": "reference/transfer#copy"})
    assert text == '<article><a href="reference/transfer/#copy"><code>copy_session()</code></a>'


def test_each_mention_in_the_reference_has_a_link():
    text = linked("<article><code>Turn</code> <code>Turn</code>", "reference/errors", TARGETS)
    assert 2 == text.count('<a href="../session/#openai_sessions.Turn">')


def test_overview_has_every_module_with_a_page():
    modules = re.findall(
        r"^\| \[`([\w.]+)`\]\(\1\.md\) \| \S.+ \|$",
        reference_page(f"{FOLDER}index.md"),
        re.MULTILINE,
    )
    special = {f"{FOLDER}index.md", *GENERATED}
    assert {f"{FOLDER}{module}.md" for module in modules} == {
        p for p in listed_pages() if p.startswith(FOLDER)
    } - special


def test_build_needs_zensical(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tool, "find_spec", lambda _: None)
    assert 1 == tool.main(["--output", str(tmp_path)])
    assert "zensical is not installed. It needs Python 3.11" in capsys.readouterr().err


def test_build_stops_at_a_page_that_is_not_in_the_navigation(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tool, "misplaced", lambda: ["no.md is not in the navigation, docs/site.yml"])
    assert 1 == tool.main(["--output", str(tmp_path)])
    assert "no.md is not in the navigation, docs/site.yml\n" == capsys.readouterr().err
    assert [] == [*tmp_path.iterdir()]


def test_names_lead_to_the_page_of_their_module():
    found = anchors(listed_pages())
    assert "reference/session#openai_sessions.Turn" == found["Turn"]
    assert "reference/errors#openai_sessions.errors.CursorError" == found["CursorError"]
    assert (
        found["OpenAIConversationsSession"] == "reference/session#openai_sessions.OpenAIConversationsSession"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# How?\n\nSo.\n", "How?"),
        ("# Title\n## Run\nA [link](a.md) of\ntwo lines. More.\n", "A link of two lines."),
        ("# Title\n\n```python\n1\n```\n\n| a |\n\nIt is. So.\n", "It is."),
        ("# Title\n\nRun it:\n\n```console\n$ a\n```\n", "Run it."),
    ],
)
def test_summary_of_a_page(text, expected):
    assert expected == summary("page.md", text)


def test_llms_txt_has_the_pages_of_the_navigation():
    texts = {path: page_text(path) for path in documents()} | {
        path: "" for path in listed_pages() if path.startswith(FOLDER)
    }
    made = settings(texts, site_url=SITE_URL, repository_url=None)
    sections = made["plugins"]["llmstxt"]["sections"]
    listed = {title: [path for each in entries for path in each] for title, entries in sections.items()}
    assert listed == {title: [path for _, path in pages] for title, pages in navigation().items()}
    assert "repo_url" not in made
    assert REPOSITORY_URL == settings(texts, site_url=SITE_URL, repository_url=REPOSITORY_URL)["repo_url"]


@pytest.fixture
def site(tmp_path):
    """Write the pages of a site; return its folder."""

    def site(**pages):
        for name, text in pages.items():
            file = tmp_path / name / "index.html" if name != "index" else tmp_path / "index.html"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return tmp_path

    return site


def test_links_that_lead_somewhere(site):
    pages = {
        "index": '<a href="guide/">1</a> <a href="guide/#there">2</a> <a href="https://pypi.org/">3</a>',
        "guide": '<h1 id="there"></h1> <a href="../">1</a> <a href="#there">2</a> <img src="data:,">',
    }
    assert [] == [*broken_links(site(**pages))]


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ('<a href="no/">', "index.html has a link to no/, which does not exist"),
        ('<a href="guide/#no">', "index.html has a link to guide/#no, which has no such anchor"),
        ('<a href="#no">', "index.html has a link to #no, which has no such anchor"),
        ('<img src="no.png">', "index.html has a link to no.png, which does not exist"),
        (
            '<link rel="stylesheet" href="//cdn.test/a.css">',
            "index.html loads //cdn.test/a.css from another host",
        ),
        (
            '<script src="https://cdn.test/a.js"></script>',
            "index.html loads https://cdn.test/a.js from another host",
        ),
    ],
)
def test_links_that_lead_nowhere(tag, message, site):
    assert [message] == [*broken_links(site(index=tag, guide="<p id='there'>"))]
