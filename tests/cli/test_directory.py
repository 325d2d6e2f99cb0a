"""The command with a directory of names: `directory`, and names in the place of ids."""

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest

from openai_sessions import OpenAIConversationsSession, Usage
from openai_sessions.cli._conversations import _register
from openai_sessions.emulator import Fault
from openai_sessions.errors import NameTakenError, UnfinishedForkError
from openai_sessions.session import ModelUsage
from tests.cli.directories import Directory
from tests.cli.service import turns
from tests.examples.stand_in import ROOT


@pytest.fixture
def directory(service, tmp_path):
    directory = Directory(service, tmp_path / "names.db")
    directory.holds()
    return directory


def long_ago():
    return datetime.now(timezone.utc) - timedelta(days=30)


def test_list_has_names_times_and_conversations_and_needs_no_key(service, directory):
    directory.holds("support/1", "support/2", "user_1")
    listing = "directory", "list", "--prefix", "support/"
    lines = [line.split("\t") for line in service.output(*listing, OPENAI_API_KEY="")]
    conversations = directory.names()
    assert [(*line[:3], *line[4:]) for line in lines] == [
        (name, "-", "-", "-", conversations[name]) for name in ("support/1", "support/2")
    ]
    assert all(datetime.fromisoformat(line[3]).tzinfo for line in lines)


def test_list_selects_by_user_and_title(service, directory):
    directory.holds("a", "b", user="alice", title="Café")
    directory.holds("c", user="bob", title="Café")
    directory.holds("d")
    found = service.output("directory", "list", "--user", "alice", "--search", "CAF")
    assert [line.split("\t")[:3] for line in found] == [["a", "Café", "alice"], ["b", "Café", "alice"]]
    assert [line[0] for line in service.output("directory", "list", "--search", "caf")] == ["a", "b", "c"]


def test_list_as_json_has_all_that_the_directory_says(service, directory):
    directory.holds("user_1", expires_in=timedelta(days=1))
    (entry,) = service.json("directory", "list", "--json")
    assert entry.keys() == {
        "name",
        "user",
        "title",
        "turn_count",
        "conversation_id",
        "metadata",
        "created_at",
        "used_at",
        "expires_at",
        "branch",
    }
    assert datetime.fromisoformat(entry["expires_at"]) > datetime.now(timezone.utc)


def test_list_goes_from_page_to_page(service, directory):
    directory.holds("a", "b", "c")
    first = service.run("directory", "list", "--limit", "2")
    assert ([line[0] for line in first.stdout.splitlines()], first.stderr) == (
        ["a", "b"],
        "More names follow: --after b\n",
    )
    assert [line[0] for line in service.output("directory", "list", "--after", "b", "--limit", "2")] == ["c"]


def test_tenants_see_their_own_names(service, directory):
    directory.holds("a", tenant="first")
    directory.holds("b", tenant="second")
    assert [line[0] for line in service.output("directory", "list", "--tenant", "second")] == ["b"]
    assert service.output("directory", "list") == []


def test_name_stands_for_its_conversation(service, directory):
    directory.holds("user_1")
    assert ["user       I am user_1"] == service.output("show", "user_1")
    assert ["1\t1\tI am user_1"] == service.output("turns", "user_1")
    assert service.failure("show", "user_2") == (3, "The directory has no name 'user_2'.")


def test_showing_changes_nothing_in_the_directory(service, directory):
    """Opening an expired name would begin it anew."""
    directory.holds("user_1", expires_in=60, clock=long_ago)
    before = service.json("directory", "list", "--json")
    assert ["user       I am user_1"] == service.output("show", "user_1")
    assert service.json("directory", "list", "--json") == before


def test_clear_takes_the_conversation_from_the_name(service, directory):
    directory.holds("user_1")
    (cleared,) = directory.names().values()
    finished = service.run("clear", "user_1", "--yes")
    assert (finished.returncode, finished.stderr) == (0, f"Deleted {cleared}.\n")
    assert (directory.names(), service.conversations()) == ({"user_1": None}, [])
    again = service.run("clear", "user_1", "--yes")
    assert (again.returncode, again.stderr) == (
        0,
        "user_1 has no conversation; there is nothing to delete.\n",
    )


def test_copy_and_import_make_a_name(service, directory, tmp_path):
    service.holds("conv_1", turns(2))
    (copied,) = service.output("copy", "conv_1", "copied", "--quiet")
    service.output("export", "copied", str(tmp_path / "file"), "--quiet")
    (imported,) = service.output("import", str(tmp_path / "file"), "--name", "imported", "--quiet")
    assert directory.names() == {"copied": copied, "imported": imported}
    assert service.texts(imported) == service.texts("conv_1")


def test_name_that_was_made_for_nothing_is_forgotten(service, directory):
    service.holds("conv_1", turns(15))
    service.emulator.inject(Fault("quota"), operation="create_items", after=1, times=9)
    exit_code, _ = service.failure("copy", "conv_1", "copied")
    assert (exit_code, directory.names(), service.conversations()) == (1, {}, ["conv_1"])


def test_import_refuses_a_name_that_would_be_taken_for_an_id(service, directory, tmp_path):
    service.holds("conv_1", [])
    exit_code, error = service.failure("import", str(tmp_path / "file"), "--name", "conv_1")
    assert (exit_code, error.startswith("The name 'conv_1' looks like a conversation id: ")) == (2, True)


def test_import_refuses_a_name_that_is_taken_and_two_targets(service, directory, tmp_path):
    directory.holds("user_1")
    before = directory.names()
    exit_code, error = service.failure("import", str(tmp_path / "file"), "--name", "user_1")
    assert (exit_code, error.startswith("The directory already has the name 'user_1'")) == (1, True)
    assert service.failure("import", "file", "--name", "a", "--into", "b") == (
        2,
        "Give --name or --into, not both.",
    )
    assert directory.names() == before


def test_fork_makes_a_branch_of_a_name(service, directory):
    directory.holds("user_1")
    (forked,) = service.output("fork", "user_1", "--branch", "second try")
    assert service.texts(forked) == ["I am user_1"]
    assert directory.do(branches) == {"main": directory.names()["user_1"], "second try": forked}
    exit_code, error = service.failure("fork", "user_1", "--branch", "second try")
    assert (exit_code, error.startswith("The directory already has the branch 'second try' of 'user_1'")) == (
        1,
        True,
    )
    assert service.failure("fork", forked, "--branch", "third") == (
        2,
        f"{forked} is a conversation id; --branch needs a name from the directory.",
    )


def test_fork_puts_a_conversation_under_a_name(service, directory):
    directory.holds("user_1")
    service.holds("conv_1", turns(2))
    (of_id,) = service.output("fork", "conv_1", "--name", "first", "--before-turn", "2")
    (of_name,) = service.output("fork", "user_1", "--name", "second")
    assert directory.names() == {"first": of_id, "second": of_name, "user_1": directory.names()["user_1"]}
    assert service.texts(of_id) == ["Question 1", "Answer 1"]
    assert ["user       I am user_1"] == service.output("show", "second")


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        (["--name", "user_1"], 1, "The directory already has the name 'user_1': "),
        (["--name", "a", "--branch", "b"], 2, "Give --name or --branch, not both."),
        (["--name", "conv_2"], 2, "The name 'conv_2' looks like a conversation id: "),
        (["--name", ""], 2, "the name is empty: "),
    ],
)
def test_fork_under_a_name_that_cannot_be_makes_no_conversation(service, directory, options, exit_code, said):
    directory.holds("user_1")
    before = service.conversations()
    told = service.failure("fork", "user_1", *options)
    assert (told[0], told[1].startswith(said)) == (exit_code, True)
    assert service.conversations() == before


class Refusing:
    """A workspace whose directory has been given the name meanwhile."""

    directory = property(lambda self: self)

    async def register(self, name, conversation_id):
        raise NameTakenError(name)


@pytest.mark.parametrize("error", [NameTakenError, UnfinishedForkError])
def test_fork_that_cannot_be_registered_is_deleted_or_named(service, error):
    service.holds("conv_1", turns(1))
    if error is UnfinishedForkError:
        service.emulator.inject(Fault("quota"), operation="delete_conversation", times=9)

    async def register():
        async with service.client() as client:
            fork = await OpenAIConversationsSession(conversation_id="conv_1", openai_client=client).fork()
            with pytest.raises(error) as caught:
                await _register(fork, "name", Refusing())
            return caught.value

    raised = asyncio.run(register())
    left = [each for each in service.conversations() if each != "conv_1"]
    assert left == ([raised.conversation_id] if error is UnfinishedForkError else [])


async def branches(directory):
    return {branch.branch: branch.conversation_id for branch in await directory.branches("user_1")}


def test_unused_name_has_nothing_to_fork(service, directory):
    directory.do(lambda directory: directory.session("user_1"))
    told = service.failure("fork", "user_1")
    assert told == (3, "The name has no conversation yet: nothing was written to it.")


def test_usage_by_turn_is_what_the_directory_keeps_with_a_name(service, directory):
    part = ModelUsage(requests=2, input_tokens=1500, total_tokens=1500, model="gpt-5.2")
    usage = Usage.of_models([part])

    async def store(directory):
        session = await directory.session("user_1")
        await session.set_session_usage(usage)

    directory.holds("user_1")
    directory.do(store)
    row = f"0\t2\t1,500\t0\t0\t0\t0\t1,500\t${usage.cost():.6f}"
    assert [row] == service.output("usage", "user_1", "--by-turn")
    (used,) = service.json("usage", "user_1", "--by-turn", "--json")
    assert (used["turn"], used["requests"], used["cost_usd"]) == (0, 2, float(usage.cost()))
    assert service.json("usage", "user_1", "--json")[0]["total_tokens"] == 1500


def test_usage_by_turn_opens_no_expired_name(service, directory):
    """Opening it would begin it anew."""
    directory.holds("user_1", expires_in=60, clock=long_ago)
    before = service.json("directory", "list", "--json")
    assert 3 == service.failure("usage", "user_1", "--by-turn")[0]
    assert before == service.json("directory", "list", "--json")


def test_sweep_deletes_what_has_expired(service, directory):
    directory.holds("old_1", "old_2", expires_in=60, clock=long_ago)
    directory.holds("new", expires_in=60)
    assert service.failure("directory", "sweep") == (
        2,
        "There is no terminal to ask for confirmation: give --yes.",
    )
    before = service.conversations()
    assert 2 == len(emulated_items(service, *directory.names().values())) - 1
    finished = service.run("directory", "sweep", "--dry-run")
    assert finished.stderr == "Would remove 2 expired names and delete 2 conversations.\n"
    assert (finished.stdout, before) == ("", service.conversations())
    finished = service.run("directory", "sweep", "--yes")
    assert (finished.returncode, finished.stdout) == (0, "")
    assert finished.stderr == "Removed 2 expired names and deleted 2 conversations.\n"
    assert list(directory.names()) == ["new"]
    assert service.conversations() == [directory.names()["new"]]
    assert len(emulated_items(service, *before)) == 1


def test_sweep_keeps_items_if_told_so(service, directory):
    directory.holds("old", expires_in=60, clock=long_ago)
    before = service.conversations()
    service.output("directory", "sweep", "--yes", "--keep-items", "--quiet")
    assert (len(emulated_items(service, *before)), service.conversations()) == (1, [])


def emulated_items(service, *conversation_ids):
    """Return the items that the service keeps, also of deleted conversations."""
    return [item for each in conversation_ids for item in service.emulator.contents.items(each)]


def test_erase_deletes_what_a_user_has(service, directory):
    directory.holds("a", "b", user="alice")
    directory.holds("c", user="bob")
    ids = [directory.names()[name] for name in "ab"]
    assert service.failure("directory", "erase", "--user", "alice") == (
        2,
        "There is no terminal to ask for confirmation: give --yes.",
    )
    assert service.output("directory", "erase", "--user", "alice", "--dry-run")[:2] == [
        "conversations\t2\t0\t0",
        "items\t2\t0\t0",
    ]
    assert len(emulated_items(service, *ids)) == 2
    (report,) = service.json("directory", "erase", "--user", "alice", "--yes", "--json")
    assert (report["user"], report["dry_run"]) == ("alice", False)
    assert report["conversations"] == {"deleted": sorted(ids), "already_gone": [], "failed": {}}
    assert (emulated_items(service, *ids), list(directory.names())) == ([], ["c"])


@pytest.mark.exhaustive
def test_erase_that_leaves_something_says_so(service, directory):
    directory.holds("a", user="alice")
    (left,) = directory.names().values()
    service.emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=99)
    finished = service.run("directory", "erase", "--user", "alice", "--yes")
    assert (finished.returncode, finished.stdout.splitlines()[0]) == (4, "conversations\t0\t0\t1")
    assert finished.stderr.splitlines() == [
        f"{left}: InternalServerError (500)",
        "Not everything was deleted: erase again later.",
    ]
    service.emulator.clear_faults()
    finished = service.run("directory", "erase", "--user", "alice", "--yes")
    assert finished.stdout.splitlines()[:2] == ["conversations\t1\t0\t0", "items\t1\t0\t0"]


@pytest.mark.exhaustive
def test_sweep_that_leaves_something_says_so(service, directory):
    directory.holds("old", expires_in=60, clock=long_ago)
    (left,) = directory.names().values()
    service.emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=99)
    finished = service.run("directory", "sweep", "--yes", "--quiet")
    assert (finished.returncode, finished.stdout) == (4, "")
    assert finished.stderr.splitlines() == [
        f"{left} is left for the next sweep: InternalServerError",
        "1 conversation could not be deleted: sweep again later.",
    ]


@pytest.mark.parametrize(
    ("url", "exit_code", "said"),
    [
        ("", 2, "No directory given: set --directory or OPENAI_SESSIONS_DIRECTORY."),
        ("names", 2, "url is not a database URL"),
        (
            "sqlite:///none.db",
            2,
            "The directory sqlite:///none.db does not exist: no such file. `openai-sessions ",
        ),
        ("postgresql://me:secret@127.0.0.1:9/x", 1, "A connection failed: "),
    ],
)
def test_directory_that_cannot_be_used_is_told(service, url, exit_code, said):
    told = service.failure("directory", "list", "--directory", url)
    assert (told[0], told[1].startswith(said), "secret" in told[1]) == (exit_code, True, False)


def test_database_that_is_no_directory_is_told(service, tmp_path):
    (tmp_path / "empty.db").touch()
    exit_code, error = service.failure("directory", "list", "--directory", f"sqlite:///{tmp_path}/empty.db")
    expected = "The database has no tables of a session directory: `openai-sessions directory upgrade` "
    assert (exit_code, error) == (1, f"{expected}creates them.")


def upgrade(service, *options):
    """Return what is told; the command needs no key."""
    finished = service.run("directory", "upgrade", *options, OPENAI_API_KEY="")
    assert (finished.returncode, finished.stdout) == (0, "")
    return finished.stderr.rstrip("\n")


def test_upgrade_creates_a_directory_once(service, tmp_path):
    directory = Directory(service, tmp_path / "names.db")
    exit_code, error = service.failure("directory", "upgrade", "--dry-run")
    assert (exit_code, "no such file" in error, (tmp_path / "names.db").exists()) == (2, True, False)
    (tmp_path / "names.db").touch()
    assert "Would create the tables, version 3." == upgrade(service, "--dry-run")
    assert b"" == (tmp_path / "names.db").read_bytes()
    assert "Created the tables, version 3." == upgrade(service)
    assert "The directory is ready." == upgrade(service) == upgrade(service, "--dry-run")
    assert service.output("directory", "list") == []
    directory.holds("user_1")
    service.output("directory", "upgrade", "--quiet")
    assert list(directory.names()) == ["user_1"]


@pytest.mark.exhaustive
def test_upgrade_of_an_earlier_version_tells_both(service, tmp_path):
    service.variables["OPENAI_SESSIONS_DIRECTORY"] = f"sqlite:///{tmp_path}/names.db"
    shutil.copy(ROOT / "tests/directory/previous/version_2.db", tmp_path / "names.db")
    expected = (
        "The database has session directory tables of version 2. `openai-sessions directory upgrade` "
        "upgrades them to version 3, which earlier releases cannot use."
    )
    assert (1, expected) == service.failure("directory", "list")
    assert "Would upgrade the tables from version 2 to version 3." == upgrade(service, "--dry-run")
    assert (1, expected) == service.failure("directory", "list")
    assert "Upgraded the tables from version 2 to version 3." == upgrade(service)
    listed = [entry["name"] for entry in service.json("directory", "list", "--json")]
    assert ["alice", "carol", "draft", "unused"] == listed


@pytest.mark.exhaustive
@pytest.mark.parametrize("version", [1, 4])
def test_upgrade_of_a_version_that_cannot_be_says_so(service, tmp_path, version):
    service.variables["OPENAI_SESSIONS_DIRECTORY"] = f"sqlite:///{tmp_path}/names.db"
    shutil.copy(ROOT / "tests/directory/previous/version_2.db", tmp_path / "names.db")
    with closing(sqlite3.connect(tmp_path / "names.db")) as connection, connection:
        connection.execute("UPDATE openai_sessions_schema SET version = ?", [version])
    for command in ("list", "upgrade"):
        exit_code, error = service.failure("directory", command)
        said = f"The database has session directory tables of version {version}, and this release "
        assert (exit_code, error.startswith(said), "`openai-sessions" in error) == (1, True, False)


@pytest.mark.parametrize(
    ("url", "exit_code", "said"),
    [
        ("", 2, "No directory given: "),
        ("sqlite:////none/names.db", 1, "/none: no such folder."),
        ("names", 2, "url is not a database URL"),
        ("postgresql://me:secret@127.0.0.1:9/x", 1, "A connection failed: "),
    ],
)
def test_upgrade_of_what_cannot_be_one_is_told(service, url, exit_code, said):
    told = service.failure("directory", "upgrade", "--directory", url)
    assert (told[0], told[1].startswith(said), "secret" in told[1]) == (exit_code, True, False)


def test_names_are_safe_on_a_terminal(service, directory):
    directory.holds("a\x1b[2J\tb\n")
    assert [r"a\x1b[2J\tb\n"] == [line.split("\t")[0] for line in service.output("directory", "list")]
    assert ["a\x1b[2J\tb\n"] == [
        json.loads(line)["name"] for line in service.output("directory", "list", "--json")
    ]
