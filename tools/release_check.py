"""Build the distributions and try them as a user gets them: `make release-check`.

The sdist is built from the checkout and the wheel from the sdist. Their metadata and files are checked. Then
each is installed away from the checkout, the wheel with pip and the sdist with uv: without extras, with
`[agents]` for the first program of the README, and with `[cli]` for `openai-sessions serve` and `demo`.
Nothing is published; the files that passed stay in the folder.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openai_sessions import __version__

ROOT = Path(__file__).parents[1]
PACKAGE = "openai_sessions"

ONLY_IN_SDIST = {
    "PKG-INFO",
    "pyproject.toml",
    "LICENSE",
    ".gitignore",
    "CHANGELOG.md",
    "README.md",
    "SECURITY.md",
}
"""What the sdist has beside the package."""

BARE = f"""
import importlib.resources, sys, warnings
warnings.simplefilter("error")
import {PACKAGE}

source = importlib.resources.files("{PACKAGE}")
assert "site-packages" in str(source), source
assert (source / "py.typed").is_file()
assert (source / "cli/page/index.html").is_file()
assert not {{"agents", "starlette", "vcr"}} & set(sys.modules)
exec("from {PACKAGE} import *")
session = {PACKAGE}.OpenAIConversationsSession(conversation_id="conv_0", openai_client=None)
assert session.session_id == "conv_0"
assert {PACKAGE}.__version__ == "{__version__}", {PACKAGE}.__version__
"""
"""Runs in an environment without extras."""


class ReleaseError(Exception):
    """The distributions are not fit to be published, or could not be tried."""


def main(arguments: Sequence[str] | None = None, *, checkout: Path = ROOT) -> int:
    """Build and check a checkout, print each step, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.release_check", description=__doc__)
    parser.add_argument("--outdir", type=Path, default=ROOT / "dist", help="receives both files")
    options = parser.parse_args(arguments)
    try:
        check(build(checkout, options.outdir), checkout)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


@dataclass(frozen=True, slots=True)
class Distributions:
    """The two built files."""

    wheel: Path
    sdist: Path


def build(checkout: Path, folder: Path) -> Distributions:
    """Build the sdist, and the wheel from it, into a folder; older ones in it are removed.

    Raises:
        ReleaseError: A build failed, or the files have another version than the package.
    """
    for old in folder.glob(f"{PACKAGE}-*"):
        old.unlink()
    run(sys.executable, "-m", "build", "--installer", "uv", "--outdir", folder, checkout)
    built = Distributions(
        wheel=folder / f"{PACKAGE}-{__version__}-py3-none-any.whl",
        sdist=folder / f"{PACKAGE}-{__version__}.tar.gz",
    )
    files = sorted(folder.glob(f"{PACKAGE}-*"))
    if files != sorted([built.wheel, built.sdist]):
        raise ReleaseError(f"built {[file.name for file in files]}, but the package is {__version__}")
    return built


def check(built: Distributions, checkout: Path) -> None:
    """Check metadata and files, and try both distributions.

    Raises:
        ReleaseError: Something is wrong; the message says what.
    """
    step("Metadata and files")
    check_metadata(built)
    check_files(built, tracked_files(checkout))
    check_rebuilt(built, checkout)
    program = first_program((checkout / "README.md").read_text(encoding="utf-8"))
    with ThreadPoolExecutor() as at_once:
        for title, tried in [
            (
                f"{archive.name}, installed with {installer}",
                at_once.submit(try_out, archive, installer, program),
            )
            for archive, installer in ((built.wheel, "pip"), (built.sdist, "uv"))
        ]:
            step(title)
            print(tried.result())


def check_metadata(built: Distributions) -> None:
    """Check what an index shows and how the wheel is made.

    Raises:
        ReleaseError: The README does not render, a field is missing, or the wheel has a known mistake.
    """
    run(sys.executable, "-m", "twine", "check", "--strict", built.wheel, built.sdist)
    run(sys.executable, "-m", "check_wheel_contents", "--toplevel", PACKAGE, built.wheel)


def tracked_files(checkout: Path) -> set[str]:
    """Return the files of the package that git knows, as paths from the checkout."""
    return set(run("git", "-C", checkout, "ls-files", "-z", "--", PACKAGE).split("\0")) - {""}


def check_files(built: Distributions, tracked: set[str]) -> None:
    """Check that both files have the package as git knows it, and nothing of the rest of the checkout.

    Args:
        built: The files.
        tracked: The files of the package.

    Raises:
        ReleaseError: Files are missing, or foreign.
    """
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
    _compare(built.wheel, {name for name in names if ".dist-info/" not in name}, tracked)
    with tarfile.open(built.sdist) as sdist:
        paths = {name.partition("/")[2] for name in sdist.getnames()}
    _compare(built.sdist, paths - ONLY_IN_SDIST, tracked)


def _compare(archive: Path, files: set[str], tracked: set[str]) -> None:
    if foreign := sorted(files - tracked):
        raise ReleaseError(f"{archive.name} has files that git does not know, remove or add them: {foreign}")
    if missing := sorted(tracked - files):
        raise ReleaseError(f"{archive.name} lacks files of the package: {missing}")


def check_rebuilt(built: Distributions, checkout: Path) -> None:
    """Check that the wheel of the sdist is, file by file, the wheel of the checkout.

    Raises:
        ReleaseError: They differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "build", "--installer=uv", "--wheel", "--outdir", folder, checkout)
        contents = [_contents(path) for path in (built.wheel, next(Path(folder).glob("*.whl")))]
    if contents[0] != contents[1]:
        names = sorted(name for name, _ in contents[0].items() ^ contents[1].items())
        raise ReleaseError(f"the wheels of the sdist and of the checkout differ in {names}")


def _contents(wheel: Path) -> Mapping[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def first_program(readme: str) -> str:
    """Return the first Python block of the README."""
    block = re.search(r"^```python\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    if block is None:
        raise ReleaseError("README.md has no Python block")
    return block[1]


def try_out(archive: Path, installer: str, program: str) -> str:
    """Install a file without extras and with them, away from the checkout, and use what it installs.

    Args:
        archive: The wheel or the sdist.
        installer: `pip` or `uv`.
        program: The first program of the README.

    Returns:
        What the program prints.

    Raises:
        ReleaseError: A command failed, or succeeded without the extra that it needs.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _try_out(archive, installer, program, Path(folder))


def _try_out(archive: Path, installer: str, program: str, folder: Path) -> str:
    app = Environment(folder / "app", installer)
    app.install(archive)
    run(app.python, "-c", BARE, cwd=folder)
    output = run(app.command, "demo", cwd=folder, fails=True)
    if f"{PACKAGE.replace('_', '-')}[cli]" not in output:
        raise ReleaseError(f"without its extra the command does not name it: {output}")
    app.install(f"{archive}[agents]")
    tools = Environment(folder / "tools", installer)
    tools.install(f"{archive}[cli]")
    run(tools.command, "demo", cwd=folder)
    (folder / "program.py").write_text(program, encoding="utf-8")
    with tools.serve(folder) as base_url:
        settings = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "sk-none", "NO_PROXY": "127.0.0.1"}
        settings["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
        return run(app.python, "program.py", cwd=folder, variables=settings).strip()


class Environment:
    """A virtual environment of its own.

    Args:
        path: The folder to create it in.
        installer: `pip` or `uv`.
    """

    def __init__(self, path: Path, installer: str) -> None:
        scripts = path / ("Scripts" if os.name == "nt" else "bin")
        self.python = scripts / "python"
        self.command = scripts / "openai-sessions"
        self._uv = installer == "uv"
        if self._uv:
            run(sys.executable, "-m", "uv", "--quiet", "venv", "--python", sys.executable, path)
        else:
            run(sys.executable, "-m", "venv", path)

    def install(self, requirement: Path | str) -> None:
        """Install a file, or a file with extras."""
        if self._uv:
            run(sys.executable, "-m", "uv", "--quiet", "pip", "install", "--python", self.python, requirement)
        else:
            pip = (self.python, "-m", "pip", "--disable-pip-version-check", "--quiet")
            run(*pip, "install", "--no-compile", requirement)

    @contextmanager
    def serve(self, folder: Path) -> Iterator[str]:
        """Run the emulator on a free port and yield its base URL."""
        command = (self.command, "serve", "--port", "0")
        with subprocess.Popen(  # noqa: S603 - the installed command
            command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True, encoding="utf-8"
        ) as server:
            try:
                yield base_url_of(server.stdout or ())
            finally:
                server.terminate()


def base_url_of(lines: Iterable[str]) -> str:
    """Return the base URL that a server prints when it is ready."""
    for line in lines:
        if found := re.search(r"OPENAI_BASE_URL=(\S+)", line):
            return found[1]
    raise ReleaseError("openai-sessions serve ended without printing its address")


def run(
    *command: Path | str,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    fails: bool = False,
) -> str:
    """Run a command and return what it prints.

    Args:
        command: The program and its arguments.
        cwd: The folder to run it in.
        variables: Further environment variables.
        fails: Whether it must fail; its errors are returned then.

    Raises:
        ReleaseError: It failed, or with `fails` it did not.
    """
    finished = subprocess.run(  # noqa: S603 - this project's programs, and those of the group `release`
        [str(word) for word in command],
        cwd=cwd,
        env={**environment(), **(variables or {})},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if (finished.returncode != 0) != fails:
        line = " ".join(map(str, command))
        raise ReleaseError(f"{line}\n{finished.stdout}{finished.stderr}exit code {finished.returncode}")
    return finished.stderr if fails else finished.stdout


def environment() -> Mapping[str, str]:
    """Return the environment variables of this process without those that lead to a checkout or to OpenAI."""
    left_out = ("OPENAI_", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def step(title: str) -> None:
    """Print what is checked next."""
    print(f"--> {title}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
