"""The documents say what is so: their programs run, and their commands, links and names exist."""

import re
import shlex

import pytest

import openai_sessions
from openai_sessions import errors
from openai_sessions.cli._app import app
from tests.docs.markdown import code_blocks, table_after
from tests.examples.stand_in import ROOT, run_python
from tests.selection import one_in

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])

PROGRAMS = (
    "README.md",
    "docs/across-processes.md",
    "docs/clients-and-event-loops.md",
    "docs/emulator.md",
    "docs/errors.md",
    "docs/items.md",
    "docs/reliability.md",
    "docs/repair.md",
    "docs/sessions.md",
    "docs/turns.md",
    "docs/usage.md",
    "docs/which-mode.md",
)
"""The documents whose programs are run here; the others are run beside the tests of what they explain."""

LOGGED = "a write could not be undone: <class 'openai.APIConnectionError'>"
"""What the program of docs/reliability.md logs."""

COMMANDS = ("README.md", "CONTRIBUTING.md", "examples/README.md", "fixtures/README.md")
"""The documents whose commands are checked."""

PASTED = ("program.py", "test_guide.py")
"""Files that a reader of the README makes from its programs."""


@pytest.mark.parametrize("name", one_in(3, PROGRAMS))
def test_programs_run_and_print_what_they_say(name, server):
    if name == "docs/turns.md":
        pytest.importorskip("bpe_openai", reason="bpe-openai is not installed")
    base_url, _ = server
    finished = run_python("-m", "tests.docs.run_blocks", name, base_url=base_url)
    unexpected = [line for line in finished.stderr.splitlines() if not line.endswith(LOGGED)]
    assert (0, []) == (finished.returncode, unexpected)
    assert name != "README.md" or ["San Francisco.", "California."] == finished.stdout.splitlines()


def commands():
    """Return every command of every console block, as its words."""
    return [
        shlex.split(line.removeprefix("$ ").removesuffix(" &"), comments=True)
        for name in COMMANDS
        for block in code_blocks((ROOT / name).read_text(), "console")
        for line in block.splitlines()
    ]


def exists(command):
    """Return whether a command names something that this checkout has."""
    program, *arguments = command
    if program == "make":
        rules = re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        targets = {target for rule in rules for target in rule.split()}
        return targets.issuperset(word for word in arguments if "=" not in word)
    if program == "openai-sessions":
        commands = [*app.registered_commands, *app.registered_groups]
        return arguments[0] in [each.name or each.callback.__name__ for each in commands]
    if program == "uv":
        started = arguments[1:] if arguments[0] == "run" else arguments
        return arguments == ["sync"] or exists(started)
    if program in ("python", "pytest"):
        return arguments[0] in PASTED or (ROOT / arguments[0]).exists()
    if program == "pip":
        extras = re.fullmatch(r"\.\[([\w,]+)\]", arguments[1]).group(1).split(",")
        project = (ROOT / "pyproject.toml").read_text()
        return all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)
    return program == "export" and all("=" in word for word in arguments)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_command_exists(command):
    assert exists(command)


@pytest.mark.parametrize(
    "command",
    ["make tea", "openai-sessions dance", "python no.py", "pip install .[no]", "uv run pytest no", "ls"],
)
def test_command_that_does_not_exist_is_refused(command):
    assert not exists(command.split())


def anchor_of(heading):
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def leads_somewhere(document, link):
    """Return whether a link in a document names a file, and if it has an anchor, a heading of that file."""
    name, _, anchor = link.partition("#")
    target = document.parent / name if name else document
    if not anchor or not target.is_file():
        return target.exists() and not anchor
    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
    return anchor in map(anchor_of, headings)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text())
    assert [link for link in links if not leads_somewhere(document, link)] == []


@pytest.mark.parametrize("link", ["docs/no.md", "docs/turns.md#no-heading", "#no-heading"])
def test_link_that_leads_nowhere_is_refused(link):
    assert not leads_somewhere(ROOT / "README.md", link)


def linked_from(document):
    """Return the documents that a document has links to."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    return {(document.parent / link).resolve() for link in links if link.endswith(".md")}


def test_every_page_is_reached_from_the_readme():
    reached, unread = set(), {ROOT / "README.md"}
    while unread:
        reached |= unread
        unread = set().union(*map(linked_from, unread)) - reached
    assert [path.name for path in sorted(ROOT.glob("docs/*.md")) if path not in reached] == []


def test_table_of_errors_is_complete():
    documented = {row[0].strip("`") for row in table_after((ROOT / "docs/errors.md").read_text(), "\n```\n")}
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    raised = {each.__name__ for each in classes if issubclass(each, errors.SessionError)}
    assert documented == raised - {"SessionError"}


def test_places_that_keep_the_promises_exist():
    rows = table_after((ROOT / "CONTRIBUTING.md").read_text(), "## Where each promise is kept")
    assert len(rows) == 6
    missing = [
        name
        for _, modules, names in rows
        for name in re.findall(r"`(\w+)`", names)
        if not any(defines(module, name) for module in re.findall(r"`(\S+\.py)`", modules))
    ]
    assert missing == []


def defines(module, name):
    """Return whether a module of the package defines a function or a class."""
    source = (ROOT / "openai_sessions" / module).read_text()
    return re.search(rf"^(async def|def|class) {name}\b", source, re.MULTILINE) is not None


def test_examples_are_all_listed():
    listed = (ROOT / "examples/README.md").read_text()
    examples = [path.relative_to(ROOT / "examples") for path in ROOT.glob("examples/**/*.py")]
    assert [str(path) for path in examples if f"`{path}`" not in listed] == []


def test_changelog_names_everything_exported():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in openai_sessions.__all__ if f"`{name}" not in changelog] == []


@pytest.mark.parametrize("document", ["docs/reliability.md", "SECURITY.md"])
def test_every_test_that_shows_a_guarantee_exists(document):
    text = (ROOT / document).read_text()
    named = re.findall(r"`([a-z_/]+\.py)::(test_[a-z0-9_]+)`", text)
    assert len(named) > 20
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_guarantee_names_its_test():
    text = (ROOT / "docs/reliability.md").read_text()
    given = re.findall(r"^- Guaranteed: (?:.*\n)(?:  .*\n)*", text, re.MULTILINE)
    assert [each for each in given if "::test_" not in each] == []


def test_every_protection_names_its_test_or_its_document():
    text = (ROOT / "SECURITY.md").read_text()
    given = re.findall(r"^- (?:.*\n)(?:  .*\n)*", text, re.MULTILINE)
    assert len(given) > 20
    assert [each for each in given if "::test_" not in each and "](docs/" not in each] == []
