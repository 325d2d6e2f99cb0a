"""Prepare a release from a tag: `python -m tools.release notes v1.2.3` or `links URL v1.2.3`.

`notes` checks that the tag is the package's version and that CHANGELOG.md has a dated section of it, and
prints that section. `links` makes the relative links of README.md absolute, because PyPI shows it too, and
adds the repository's addresses to pyproject.toml; it changes both files. The release workflow calls them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from openai_sessions import __version__

ROOT = Path(__file__).parents[1]

URLS = "[project.urls]\n"


class TagError(Exception):
    """The tag does not fit the checkout."""


def main(arguments: Sequence[str] | None = None, *, checkout: Path = ROOT) -> int:
    """Run a command on a checkout and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    notes = commands.add_parser("notes", help="check a tag and print its section of the changelog")
    links = commands.add_parser("links", help="make the links of the README absolute, and add addresses")
    links.add_argument("repository", help="the address of the repository: https://github.com/OWNER/NAME")
    for command in (notes, links):
        command.add_argument("tag", help="v1.2.3")
    options = parser.parse_args(arguments)
    try:
        version = version_of(options.tag)
        if options.command == "notes":
            print(section((checkout / "CHANGELOG.md").read_text(encoding="utf-8"), version))
        else:
            _rewrite_links(checkout, options.repository.rstrip("/"), options.tag)
    except TagError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def version_of(tag: str, package: str = __version__) -> str:
    """Return the version of a tag.

    Args:
        tag: `v` and the version.
        package: The version of the package.

    Raises:
        TagError: The package has another version.
    """
    if tag != f"v{package}":
        raise TagError(
            f"The tag is {tag}, but __version__ in openai_sessions/__init__.py is {package}: "
            f"change it, or tag v{package}."
        )
    return package


def section(changelog: str, version: str) -> str:
    """Return what the changelog says of a version, without its heading.

    Raises:
        TagError: It has no section of the version with a date, or an empty one.
    """
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n"
    found = re.search(rf"{heading}(.*?)(?=^## |\Z)", changelog, re.DOTALL | re.MULTILINE)
    if found is None or not found[1].strip():
        raise TagError(f'CHANGELOG.md needs a section "## [{version}] - YYYY-MM-DD" that says what changed.')
    return found[1].strip()


def absolute_links(readme: str, repository: str, tag: str) -> str:
    """Return a Markdown text whose relative links lead to a repository as it is at a tag.

    Args:
        readme: The text; its links are relative to the root of the repository.
        repository: Its address, without a slash at the end.
        tag: The tag.
    """
    pictures = re.sub(r"(!\[[^\]]*\]\()(?!https?:)([^)]+)\)", rf"\g<1>{repository}/raw/{tag}/\g<2>)", readme)
    return re.sub(r"\]\((?!https?:|#)([^)]+)\)", rf"]({repository}/blob/{tag}/\g<1>)", pictures)


def with_addresses(project: str, repository: str, tag: str) -> str:
    """Return pyproject.toml with the addresses of the repository, its documents, changelog and issues."""
    addresses = {
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
        "Documentation": f"{repository}/tree/{tag}/docs",
        "Issues": f"{repository}/issues",
        "Repository": repository,
    }
    lines = "".join(f'{name} = "{address}"\n' for name, address in addresses.items())
    return project.replace(URLS, URLS + lines)


def _rewrite_links(checkout: Path, repository: str, tag: str) -> None:
    readme, project = checkout / "README.md", checkout / "pyproject.toml"
    readme.write_text(absolute_links(readme.read_text(encoding="utf-8"), repository, tag), encoding="utf-8")
    project.write_text(with_addresses(project.read_text(encoding="utf-8"), repository, tag), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
