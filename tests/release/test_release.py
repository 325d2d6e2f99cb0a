"""A tag is the version of the package and has a section in the changelog; on PyPI links lead somewhere."""

import re
import shutil

import pytest

from openai_sessions import __version__
from tests.docs.markdown import code_blocks
from tests.examples.stand_in import ROOT
from tools.release import TagError, absolute_links, main, section, version_of, with_addresses

REPOSITORY = "https://github.com/owner/name"

CHANGELOG = """# Changelog

## [Unreleased]

### Added
- Something new.

## [1.2.3] - 2030-01-31

### Fixed
- A [link](docs/a.md).

### Added
- More.

## [1.2.30] - 2030-01-01

## [1.2.2]
- Without a date.
"""


def test_tag_of_the_version_is_accepted():
    assert "1.2.3" == version_of("v1.2.3", "1.2.3")


@pytest.mark.parametrize("tag", ["v1.2.4", "1.2.3", "v1.2.3rc1", "v1.2", ""])
def test_tag_of_another_version_is_refused(tag):
    with pytest.raises(TagError) as caught:
        version_of(tag, "1.2.3")
    place = "__version__ in openai_sessions/__init__.py"
    assert str(caught.value) == f"The tag is {tag}, but {place} is 1.2.3: change it, or tag v1.2.3."


def test_section_of_a_version_goes_to_the_next_one():
    assert section(CHANGELOG, "1.2.3") == "### Fixed\n- A [link](docs/a.md).\n\n### Added\n- More."


@pytest.mark.parametrize("version", ["1.2.30", "1.2.2", "1.2", "1x2.3", "Unreleased"])
def test_version_without_a_dated_section_is_refused(version):
    with pytest.raises(TagError, match=re.escape(f'"## [{version}] - YYYY-MM-DD"')):
        section(CHANGELOG, version)


@pytest.fixture
def checkout(tmp_path):
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG.replace("[1.2.3]", f"[{__version__}]"))
    return tmp_path


def test_notes_are_printed(checkout, capsys):
    assert 0 == main(["notes", f"v{__version__}"], checkout=checkout)
    assert capsys.readouterr().out.startswith("### Fixed\n- A [link]")


def test_wrong_tag_is_an_error(checkout, capsys):
    assert 1 == main(["notes", "v999"], checkout=checkout)
    assert capsys.readouterr().err.startswith("The tag is v999, but __version__")


def test_links_are_rewritten_in_place(checkout):
    tag = f"v{__version__}"
    assert 0 == main(["links", f"{REPOSITORY}/", tag], checkout=checkout)
    readme = (checkout / "README.md").read_text()
    assert f"]({REPOSITORY}/blob/{tag}/CHANGELOG.md)" in readme
    assert f'\nRepository = "{REPOSITORY}"\n' in (checkout / "pyproject.toml").read_text()


def test_links_of_the_readme_are_absolute_and_its_programs_unchanged():
    readme = (ROOT / "README.md").read_text()
    changed = absolute_links(readme, REPOSITORY, "v1")
    assert re.findall(r"\]\((?!https://)[^)]+\)", changed) == []
    files = re.findall(rf"\]\({REPOSITORY}/(?:blob|raw)/v1/([^)#]+)", changed)
    assert len(files) > 20
    assert [name for name in files if not (ROOT / name).exists()] == []
    for language in ("python", "console"):
        assert code_blocks(changed, language) == code_blocks(readme, language)


def test_pictures_lead_to_their_bytes_and_other_links_to_pages():
    text = "[![A](docs/a.svg)](docs/a.md#b) ![B](b.png) [C](#c) [D](https://d) ![E](https://e/e.png)"
    assert absolute_links(text, "https://r", "v1") == (
        "[![A](https://r/raw/v1/docs/a.svg)](https://r/blob/v1/docs/a.md#b) ![B](https://r/raw/v1/b.png) "
        "[C](#c) [D](https://d) ![E](https://e/e.png)"
    )


def test_addresses_are_added_to_the_project():
    tomllib = pytest.importorskip("tomllib", reason="tomllib is new in Python 3.11")
    changed = with_addresses((ROOT / "pyproject.toml").read_text(), REPOSITORY, "v1")
    assert tomllib.loads(changed)["project"]["urls"].items() >= {
        ("Changelog", f"{REPOSITORY}/blob/v1/CHANGELOG.md"),
        ("Documentation", f"{REPOSITORY}/tree/v1/docs"),
        ("Issues", f"{REPOSITORY}/issues"),
        ("Repository", REPOSITORY),
    }
