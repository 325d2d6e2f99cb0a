"""What the workflows run exists and works, and the documents name the versions that they test."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from openai_sessions import __version__
from tests.docs.markdown import table_after
from tests.docs.test_documents import exists
from tests.examples.stand_in import ROOT

WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in ROOT.glob(".github/workflows/*.yml")}
PYPROJECT = (ROOT / "pyproject.toml").read_text()
SUPPORT = (ROOT / "docs/support.md").read_text()

STEPS = [
    pytest.param(step, id=f"{name}-{job}-{place}")
    for name, workflow in WORKFLOWS.items()
    for job, described in workflow["jobs"].items()
    for place, step in enumerate(described.get("steps", ()))
]


def matrix():
    return WORKFLOWS["test"]["jobs"]["test"]["strategy"]["matrix"]


def oldest_pins():
    """Return the oldest versions that .ci/run tests, by package."""
    pins = re.search(r'^OLDEST_PINS="(.+)"$', (ROOT / ".ci/run").read_text(), re.MULTILINE)[1]
    return dict(pin.split("==") for pin in pins.split())


@pytest.mark.parametrize("step", [each for each in STEPS if "uses" in each.values[0]])
def test_action_is_pinned_by_its_commit_and_its_tag_is_told(step):
    assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
    lines = [
        line
        for path in ROOT.glob(".github/workflows/*.yml")
        for line in path.read_text().splitlines()
        if step["uses"] in line
    ]
    assert all(re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line) for line in lines)
    assert len({line.split("uses:")[1] for line in lines}) == 1


@pytest.mark.parametrize("step", [each for each in STEPS if "make" in each.values[0].get("run", "")])
def test_target_of_make_exists(step):
    assert exists(step["run"].split())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_jobs_end_in_time(name):
    jobs = WORKFLOWS[name]["jobs"].values()
    assert [job for job in jobs if "uses" not in job and not job.get("timeout-minutes")] == []


def test_pythons_that_are_tested_are_those_that_are_supported():
    classifiers = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)
    assert matrix()["python"] == classifiers
    assert re.search(r'^requires-python = ">=(.+)"$', PYPROJECT, re.MULTILINE)[1] == classifiers[0]
    (python,) = (row for row in table_after(SUPPORT, "## Versions") if row[0] == "Python")
    assert python[1] == f"{classifiers[0]} to {classifiers[-1]}"


def test_oldest_libraries_are_tested_on_the_oldest_python():
    pins = " ".join(f"{package}=={version}" for package, version in oldest_pins().items())
    assert matrix()["include"] == [{"python": matrix()["python"][0], "pins": pins}]
    assert f'PINS="{pins}"' in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("package", oldest_pins())
def test_oldest_version_is_the_lower_bound_and_told(package):
    oldest = oldest_pins()[package]
    bounds = {*re.findall(rf'"({package}[\[>][^"]*)"', PYPROJECT.partition("[project.urls]")[0])}
    (specifier,) = {Requirement(bound).specifier for bound in bounds}
    limits = {each.operator: each.version for each in specifier}
    assert f"{limits['>=']}.0" == oldest
    (row,) = (row for row in table_after(SUPPORT, "## Versions") if row[0] == package)
    assert row[1].startswith(f"{oldest} or newer, below {limits['<']}")
    assert row[2].startswith(f"{oldest} and the newest")


@pytest.mark.parametrize("line", (ROOT / ".github/prereleases.txt").read_text().splitlines()[1:])
def test_pre_releases_of_both_libraries_may_be_installed(line):
    requirement = Requirement(line)
    assert requirement.specifier.contains(f"{oldest_pins()[requirement.name]}a0")
    assert requirement.specifier.prereleases


def test_pre_releases_are_tested_each_week():
    (job,) = (
        job
        for job in WORKFLOWS["test"]["jobs"].values()
        if "prereleases.txt" in str(job["steps"][-1].get("env"))
    )
    assert "schedule" in job["if"]
    assert WORKFLOWS["test"][True]["schedule"][0]["cron"].endswith(" 1")  # YAML reads `on` as true


def run_of(job, pattern):
    """Return the commands of the only step of a job of the release that contains something."""
    (found,) = [
        step["run"] for step in WORKFLOWS["release"]["jobs"][job]["steps"] if pattern in step.get("run", "")
    ]
    return found


@pytest.fixture
def checkout(tmp_path):
    """Return a folder with what the steps of the release need, and a `gh` that prints its arguments."""
    for name in ("openai_sessions", "tools"):
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / name / "__init__.py", tmp_path / name)
    shutil.copy(ROOT / "tools/release.py", tmp_path / "tools")
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    changelog = (
        f"# Changelog\n\n## [Unreleased]\n\n## [{__version__}] - 2030-01-31\n\n### Added\n- A thing.\n"
    )
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    gh = tmp_path / "bin/gh"
    gh.parent.mkdir()
    gh.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    gh.chmod(gh.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def run_step(checkout, job, pattern, *, tag=f"v{__version__}"):
    """Run a step of the release as GitHub does, in bash with its variables."""
    variables = {
        "GITHUB_REF_NAME": tag,
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_SERVER_URL": "https://github.com",
        "PATH": os.pathsep.join(
            [str(checkout / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", run_of(job, pattern)]
    return subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True, check=False)


def test_release_takes_its_notes_from_the_changelog(checkout):
    finished = run_step(checkout, "build", "release notes")
    assert (0, "") == (finished.returncode, finished.stderr)
    assert (checkout / "build/notes.md").read_text() == "### Added\n- A thing.\n"


def test_notes_are_not_in_what_is_built(clone):
    """What git ignores is not built."""
    command = ["git", "-C", clone, "check-ignore", "--quiet", "build/notes.md"]
    assert 0 == subprocess.run(command, check=False).returncode


def test_release_of_another_tag_ends_before_anything_is_built(checkout):
    assert 1 == run_step(checkout, "build", "release notes", tag="v999").returncode
    runs = [step["run"] for step in WORKFLOWS["release"]["jobs"]["build"]["steps"] if "run" in step]
    assert [run.split()[-1] for run in runs][-1] == "release-check"
    assert "release notes" in runs[0]


def test_release_shows_the_repository_on_pypi(checkout):
    finished = run_step(checkout, "build", "release links")
    assert (0, "") == (finished.returncode, finished.stderr)
    address = f"https://github.com/owner/name/blob/v{__version__}"
    assert f"]({address}/CONTRIBUTING.md)" in (checkout / "README.md").read_text()
    assert f'Changelog = "{address}/CHANGELOG.md"' in (checkout / "pyproject.toml").read_text()


def test_release_on_github_has_the_files_and_the_notes(checkout):
    (checkout / "dist").mkdir()
    for name in ("a.tar.gz", "b.whl"):
        (checkout / "dist" / name).touch()
    finished = run_step(checkout, "notes", "gh release")
    tag = f"v{__version__}"
    files = ["dist/a.tar.gz", "dist/b.whl"]
    options = ["--notes-file", "build/notes.md", "--title", tag, "--verify-tag"]
    assert finished.stdout.splitlines() == ["release", "create", tag, *files, *options]


def test_only_what_was_tested_and_tried_is_published():
    jobs = WORKFLOWS["release"]["jobs"]
    assert jobs["publish"]["needs"] == ["test", "build"]
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"]["name"] == "pypi"
    assert [name for name, job in jobs.items() if "secrets" in str(job)] == []


def test_form_of_a_bug_asks_for_the_doctor():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    (field,) = (field for field in form["body"] if field.get("id") == "doctor")
    command = re.search(r"`(openai-sessions \w+)`", field["attributes"]["label"])[1]
    assert exists(command.split())
    assert field["validations"]["required"]
