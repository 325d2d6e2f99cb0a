"""`make release-check` finds what must not be published: foreign files, other versions, bad metadata."""

import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from openai_sessions import __version__
from tests.examples.stand_in import ROOT
from tools.release_check import (
    ONLY_IN_SDIST,
    Distributions,
    ReleaseError,
    base_url_of,
    build,
    check_files,
    check_metadata,
    check_rebuilt,
    environment,
    first_program,
    main,
    run,
    tracked_files,
)

PACKAGE = {"openai_sessions/__init__.py", "openai_sessions/py.typed"}


def distributions(folder, *, wheel=PACKAGE, sdist=PACKAGE | ONLY_IN_SDIST):
    """Return files with these names in them."""
    built = Distributions(wheel=folder / "a.whl", sdist=folder / "a.tar.gz")
    with zipfile.ZipFile(built.wheel, "w") as archive:
        for name in wheel:
            archive.writestr(name, "")
        archive.writestr("openai_sessions-1.dist-info/RECORD", "")
    with tarfile.open(built.sdist, "w:gz") as archive:
        for name in sdist:
            archive.addfile(tarfile.TarInfo(f"openai_sessions-1/{name}"))
    return built


def test_files_of_the_package_are_accepted(tmp_path):
    check_files(distributions(tmp_path), PACKAGE)


@pytest.mark.parametrize(
    ("kind", "names", "message"),
    [
        (
            "wheel",
            PACKAGE | {"tools/bench.py"},
            "a.whl has files that git does not know, remove or add them: ['tools/bench.py']",
        ),
        (
            "wheel",
            {"openai_sessions/__init__.py"},
            "a.whl lacks files of the package: ['openai_sessions/py.typed']",
        ),
        (
            "sdist",
            PACKAGE | ONLY_IN_SDIST | {"tests/conftest.py"},
            "a.tar.gz has files that git does not know, remove or add them: ['tests/conftest.py']",
        ),
        (
            "sdist",
            {*ONLY_IN_SDIST, "openai_sessions/py.typed"},
            "a.tar.gz lacks files of the package: ['openai_sessions/__init__.py']",
        ),
    ],
)
def test_other_files_are_named(tmp_path, kind, names, message):
    with pytest.raises(ReleaseError) as caught:
        check_files(distributions(tmp_path, **{kind: names}), PACKAGE)
    assert str(caught.value) == message


def test_package_as_git_knows_it_has_types_and_the_page(clone):
    assert tracked_files(clone) >= PACKAGE | {"openai_sessions/cli/page/index.html"}


def test_first_program_is_that_of_the_readme():
    program = first_program((ROOT / "README.md").read_text())
    assert program.startswith("import asyncio\nfrom agents import Agent, Runner\n")
    assert program.endswith("\nasyncio.run(main())\n")


def test_readme_without_a_program_is_refused():
    with pytest.raises(ReleaseError, match=r"README\.md has no Python block"):
        first_program("```console\n$ make\n```\n")


def test_address_of_the_server_is_read_from_what_it_prints():
    lines = iter(["API http://a\n", "    export OPENAI_BASE_URL=http://127.0.0.1:9/v1\n", "more\n"])
    assert base_url_of(lines) == "http://127.0.0.1:9/v1"
    assert list(lines) == ["more\n"]


def test_server_that_ends_is_an_error():
    with pytest.raises(ReleaseError, match="ended without printing its address"):
        base_url_of(["no such option\n"])


def test_output_of_a_command_is_returned():
    assert run("sh", "-c", "echo $COLOUR", variables={"COLOUR": "red"}) == "red\n"
    assert run("sh", "-c", "echo no >&2; exit 3", fails=True) == "no\n"


@pytest.mark.parametrize(("script", "fails"), [("echo out; echo err >&2; exit 3", False), ("echo out", True)])
def test_command_that_ends_otherwise_is_an_error(script, fails):
    with pytest.raises(ReleaseError) as caught:
        run("sh", "-c", script, fails=fails)
    expected = "out\nexit code 0" if fails else "out\nerr\nexit code 3"
    assert str(caught.value) == f"sh -c {script}\n{expected}"


def test_commands_see_no_key_and_no_checkout(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert not {"OPENAI_API_KEY", "PYTHONPATH"} & environment().keys()


@pytest.fixture
def checkout(tmp_path):
    """Return a checkout that can be built."""
    path = tmp_path / "checkout"
    shutil.copytree(
        ROOT / "openai_sessions", path / "openai_sessions", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in (".gitignore", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, path)
    subprocess.run(["git", "init", "--quiet", path], check=True)  # noqa: S607
    subprocess.run(["git", "-C", path, "add", "."], check=True)  # noqa: S607
    return path


@pytest.mark.exhaustive
def test_file_that_git_does_not_know_is_found_in_what_is_built(checkout, tmp_path, capsys):
    pytest.importorskip("build", reason="build is not installed")
    pytest.importorskip("twine", reason="twine is not installed")
    (checkout / "openai_sessions/scratch.py").write_text("KEY = 'sk-real'\n")
    assert 1 == main(["--outdir", str(tmp_path / "dist")], checkout=checkout)
    wheel = f"openai_sessions-{__version__}-py3-none-any.whl"
    assert capsys.readouterr().err == (
        f"{wheel} has files that git does not know, remove or add them: ['openai_sessions/scratch.py']\n"
    )


@pytest.mark.exhaustive
def test_wheel_that_is_not_of_the_checkout_is_found(checkout, tmp_path):
    pytest.importorskip("build", reason="build is not installed")
    built = build(checkout, tmp_path / "dist")
    check_rebuilt(built, checkout)
    (checkout / "openai_sessions/tokens.py").write_text("")
    with pytest.raises(ReleaseError, match=r"differ in .*'openai_sessions/tokens\.py'"):
        check_rebuilt(built, checkout)


@pytest.mark.exhaustive
def test_other_version_is_found_and_older_files_are_removed(checkout, tmp_path):
    pytest.importorskip("build", reason="build is not installed")
    root = checkout / "openai_sessions/__init__.py"
    root.write_text(root.read_text().replace(f'"{__version__}"', '"99.0"'))
    (tmp_path / "openai_sessions-0.0.1.tar.gz").touch()
    with pytest.raises(ReleaseError) as caught:
        build(checkout, tmp_path)
    names = ["openai_sessions-99.0-py3-none-any.whl", "openai_sessions-99.0.tar.gz"]
    assert str(caught.value) == f"built {names}, but the package is {__version__}"


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ("Description-Content-Type: text/x-rst\n\nTitle\n=\n\n`a <b", "Warning: Inline interpreted text"),
        ("", "`long_description` missing"),
    ],
)
def test_readme_that_does_not_render_is_refused(tmp_path, description, complaint):
    pytest.importorskip("twine", reason="twine is not installed")
    wheel = tmp_path / "openai_sessions-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        metadata = f"Metadata-Version: 2.4\nName: openai-sessions\nVersion: 1\n{description}\n"
        archive.writestr("openai_sessions-1.dist-info/METADATA", metadata)
    with pytest.raises(ReleaseError) as caught:
        check_metadata(Distributions(wheel=wheel, sdist=wheel))
    assert complaint in str(caught.value)


@pytest.mark.exhaustive
def test_uv_resolves_all_extras_and_groups_for_every_python(checkout):
    """`uv sync` does so in a checkout. An extra or a group that an older Python lacks needs a marker."""
    pytest.importorskip("uv", reason="uv is not installed")
    assert "" == run(sys.executable, "-m", "uv", "lock", "--quiet", "--project", checkout)
    assert '\nname = "openai-agents"\n' in (checkout / "uv.lock").read_text()
