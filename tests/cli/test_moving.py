"""`openai-sessions export`, `import` and `copy`: files, pipes, conversations and the SDK's stores."""

import asyncio
import json
import os
import signal
import stat
import subprocess

import pytest
from agents import SQLiteSession
from agents.extensions.memory import SQLAlchemySession

from openai_sessions.cli._stores import shown_store
from openai_sessions.emulator import Fault
from tests.cli.command import COMMAND, environment, eventually
from tests.cli.directories import Directory
from tests.cli.service import assistant, turns, user
from tests.conformance.postgres_server import postgres_server
from tests.processes.redis_server import redis_server


@pytest.fixture
def file(tmp_path):
    return tmp_path / "export.jsonl"


def test_export_writes_a_header_and_an_item_a_line(service, file):
    service.holds("conv_1", turns(1))
    finished = service.run("export", "conv_1", str(file))
    assert (finished.returncode, finished.stdout, finished.stderr) == (
        0,
        "",
        f"Exported 2 items to {file}.\n",
    )
    header, *items = map(json.loads, file.read_text().splitlines())
    assert (header["session_id"], header["items"], items) == ("conv_1", 2, turns(1))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_export_replaces_no_file_unless_told_to(service, file):
    service.holds("conv_1", turns(1))
    file.write_text("precious")
    exit_code, _ = service.failure("export", "conv_1", str(file))
    assert (exit_code, file.read_text()) == (2, "precious")
    assert [] == service.output("export", "conv_1", str(file), "--yes", "--quiet")
    assert len(file.read_text().splitlines()) == 3


def test_export_replaces_nothing_but_a_file(service, tmp_path):
    """A device or a pipe, as a shell makes them, would be gone afterwards."""
    service.holds("conv_1", turns(1))
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        assert service.failure("export", "conv_1", str(place), "--yes") == (
            2,
            f"{place} is not a regular file: give a file, or - for standard output.",
        )
    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize("is_there", [True, False])
def test_export_follows_no_symbolic_link(service, tmp_path, is_there):
    service.holds("conv_1", turns(1))
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    if is_there:
        target.write_text("precious")
    assert service.failure("export", "conv_1", str(link), "--yes") == (
        2,
        f"{link} is a symbolic link: give the path of the file itself, or remove the link.",
    )
    assert target.exists() == is_there
    assert service.emulator.requests == ()


def test_export_keeps_the_mode_of_a_file(service, file):
    service.holds("conv_1", turns(1))
    file.touch(mode=0o640)
    service.output("export", "conv_1", str(file), "--yes", "--quiet")
    assert (stat.S_IMODE(file.stat().st_mode), len(file.read_text().splitlines())) == (0o640, 3)


@pytest.mark.exhaustive
def test_export_to_standard_output_and_list_control_no_terminal(service, tmp_path):
    text = "a\x9b31m\x85\u202e\u2066\u200f\u061c\x7fb"
    Directory(service, tmp_path / "names.db").holds(text)
    service.holds("conv_1", [user(text)])
    exported = service.run("export", "conv_1", "-", own_process=True).stdout
    listed = service.run("directory", "list").stdout + service.run("directory", "list", "--json").stdout
    assert not {each for each in text if not each.isalnum()} & set(exported + listed)
    assert json.loads(exported.splitlines()[1]) == user(text)


def test_export_into_a_folder_that_is_not_there_is_told(service, tmp_path):
    assert service.failure("export", "conv_1", str(tmp_path / "none" / "file")) == (
        1,
        f"{tmp_path}/none: no such folder.",
    )
    assert service.emulator.requests == ()


def test_export_that_fails_leaves_no_file(service, file):
    service.holds("conv_1", turns(150))
    service.emulator.inject(Fault("quota"), operation="list_items", after=1, times=9)
    exit_code, _ = service.failure("export", "conv_1", str(file))
    assert (exit_code, list(file.parent.iterdir())) == (1, [])


@pytest.mark.exhaustive
def test_export_goes_through_a_pipe_into_an_import(service):
    service.holds("conv_1", [user("Grüße\u2028"), assistant("b")])
    exported = service.output("export", "conv_1", "-", own_process=True)
    finished = service.run("import", "-", own_process=True, stdin="\n".join(exported) + "\n")
    imported = finished.stdout.strip()
    assert (finished.returncode, finished.stderr) == (0, f"Created {imported}.\nImported 2 items.\n")
    assert service.texts(imported) == service.texts("conv_1")


def test_import_goes_into_an_empty_conversation_or_behind_what_is_there(service, file):
    service.holds("conv_1", turns(2))
    service.output("export", "conv_1", str(file), "--quiet")
    service.holds("conv_empty", [])
    assert ["conv_empty"] == service.output("import", str(file), "--into", "conv_empty", "--quiet")
    assert service.texts("conv_empty") == service.texts("conv_1")
    service.holds("conv_full", [user("Before")])
    exit_code, error = service.failure("import", str(file), "--into", "conv_full")
    assert exit_code == 1
    assert error == (
        "The target differs from the source from item 0 on (counted from 0); nothing was written. "
        "--append adds the items after those of the target."
    )
    service.output("import", str(file), "--into", "conv_full", "--append", "--quiet")
    assert service.texts("conv_full") == ["Before", *service.texts("conv_1")]


def test_wrong_file_is_told_and_nothing_is_written(service, file):
    file.write_text("no export\n")
    exit_code, error = service.failure("import", str(file))
    assert (exit_code, error.startswith("Line 1 of the export is not JSON")) == (1, True)
    assert service.failure("import", f"{file}.none") == (1, f"{file}.none: No such file or directory.")
    assert service.conversations() == []


def test_import_that_fails_leaves_no_conversation(service, file):
    service.holds("conv_1", turns(60))
    service.output("export", "conv_1", str(file), "--quiet")
    service.emulator.inject(Fault("quota"), operation="create_items", after=1, times=9)
    finished = service.run("import", str(file), "--quiet")
    assert (finished.returncode, finished.stdout, "returned 429" in finished.stderr) == (1, "", True)
    assert service.conversations() == ["conv_1"]


def test_copy_prints_the_id_of_the_copy(service):
    service.holds("conv_1", turns(2))
    finished = service.run("copy", "conv_1")
    copied = finished.stdout.strip()
    assert (finished.returncode, finished.stderr) == (0, f"Created {copied}.\nCopied 4 items.\n")
    assert service.texts(copied) == service.texts("conv_1")


def test_copy_of_an_empty_conversation_is_one(service, file):
    service.holds("conv_1", [])
    (copied,) = service.output("copy", "conv_1", "--quiet")
    service.output("export", "conv_1", str(file), "--quiet")
    (imported,) = service.output("import", str(file), "--quiet")
    assert {*service.conversations()} == {"conv_1", copied, imported}


def test_copy_that_was_cut_short_goes_on(service):
    service.holds("conv_1", turns(3))
    service.holds("conv_begun", turns(1))
    finished = service.run("copy", "conv_1", "conv_begun")
    assert (finished.returncode, finished.stderr) == (0, "Copied 4 items; 2 were there already.\n")
    assert service.texts("conv_begun") == service.texts("conv_1")


@pytest.mark.exhaustive
def test_copy_that_is_terminated_leaves_no_conversation(service):
    """`test_terminal.py` presses Ctrl-C."""
    service.holds("conv_1", turns(2_000))
    with subprocess.Popen(
        [*COMMAND, "copy", "conv_1", "--quiet"],
        env=environment(**service.variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert eventually(
            lambda: len(service.conversations()) == 2 and service.emulator.items(copy_of(service))
        )
        process.send_signal(signal.SIGTERM)
        written, told = process.communicate(timeout=60)
    assert ("", "Interrupted.") == (written, told.splitlines()[-1])  # before it, that undoing takes a while
    assert (process.returncode, service.conversations()) == (143, ["conv_1"])


def copy_of(service):
    (copy,) = {*service.conversations()} - {"conv_1"}
    return copy


def test_copy_goes_to_a_file_of_the_sdk_and_back(service, tmp_path):
    service.holds("conv_1", turns(2))
    store = f"sqlite:///{tmp_path}/sessions.db#user_1"
    assert [] == service.output("copy", "conv_1", store, "--quiet")
    session = SQLiteSession("user_1", tmp_path / "sessions.db")
    assert asyncio.run(session.get_items()) == turns(2)
    session.close()
    (copied,) = service.output("copy", store, "--quiet")
    assert service.texts(copied) == service.texts("conv_1")


def test_copy_says_what_it_left_out(service, tmp_path):
    signed = [
        {**user("Hello"), "provider_data": {"thought_signature": "EqQB"}},
        {"type": "reasoning", "summary": []},
    ]
    store = in_sqlite(tmp_path / "sessions.db", user_1=signed)
    said = service.run("copy", f"{store}#user_1").stderr.splitlines()
    assert said[1] == (
        "Copied 1 item; skipped 1 reasoning item that cannot be stored; 1 without their provider_data, which "
        "cannot be stored."
    )


def test_copy_of_a_store_onto_itself_is_refused(service, tmp_path):
    """To append it would write what it reads."""
    store = f"{in_sqlite(tmp_path / 'sessions.db', user_1=turns(1))}#user_1"
    told = service.failure("copy", store, store, "--append")
    assert told == (2, f"{store} is both source and target: give another target.")


def test_copy_goes_to_a_database_of_the_sdk_and_back(service, tmp_path):
    service.holds("conv_1", turns(2))
    url = f"sqlite+aiosqlite:///{tmp_path}/sessions.db"
    assert [] == service.output("copy", "conv_1", f"{url}#user_1", "--quiet")
    assert asyncio.run(items_of(url)) == turns(2)
    (copied,) = service.output("copy", f"{url}#user_1", "--quiet")
    assert service.texts(copied) == service.texts("conv_1")


async def items_of(url):
    session = SQLAlchemySession.from_url("user_1", url=url)
    try:
        return await session.get_items()
    finally:
        await session.engine.dispose()


@pytest.mark.exhaustive
@pytest.mark.parametrize("server", [redis_server, postgres_server])
def test_copy_goes_to_a_server_of_the_sdk_and_back(service, server):
    service.holds("conv_1", turns(2))
    with server() as url:
        assert [] == service.output("copy", "conv_1", f"{url}#user_1", "--quiet")
        (copied,) = service.output("copy", f"{url}#user_1", "--quiet")
    assert service.texts(copied) == service.texts("conv_1")


def in_sqlite(file, **histories):
    """Let a file of `SQLiteSession` hold histories, by id."""

    async def write():
        for session_id, items in histories.items():
            session = SQLiteSession(session_id, file)
            await session.add_items(items)
            session.close()

    asyncio.run(write())
    return f"sqlite:///{file}"


@pytest.mark.parametrize("driver", ["", "+aiosqlite"])
def test_copy_of_a_mistyped_id_is_told_with_the_ids_that_there_are(service, tmp_path, driver):
    """It copied nothing, created a conversation, and exited with 0."""
    in_sqlite(
        tmp_path / "sessions.db", **{f"user_{number}": turns(1) for number in range(12)}, other=turns(1)
    )
    store = f"sqlite{driver}:///{tmp_path}/sessions.db"
    exit_code, said = service.failure("copy", f"{store}#user_11x")
    assert exit_code == 3
    assert said.startswith(f"{store} has no session 'user_11x': it has 'user_11', ")
    assert said.endswith("' and 3 more.")
    assert service.emulator.requests == ()


@pytest.mark.parametrize("driver", ["", "+aiosqlite"])
def test_copy_of_a_store_without_sessions_is_told_and_writes_nothing_to_it(service, tmp_path, driver):
    (tmp_path / "sessions.db").touch()
    store = f"sqlite{driver}:///{tmp_path}/sessions.db"
    assert service.failure("copy", f"{store}#user_1") == (3, f"{store} has no session 'user_1': it has none.")
    assert (tmp_path / "sessions.db").stat().st_size == 0
    assert service.output("copy", store, "--all", "--quiet") == []
    assert service.emulator.requests == ()


def test_copy_of_a_session_without_items_is_an_empty_conversation(service, tmp_path):
    store = in_sqlite(tmp_path / "sessions.db", user_1=turns(1))
    session = SQLiteSession("user_1", tmp_path / "sessions.db")
    asyncio.run(session.pop_item())
    asyncio.run(session.pop_item())
    session.close()
    (copied,) = service.output("copy", f"{store}#user_1", "--quiet")
    assert service.texts(copied) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("server", [redis_server, postgres_server])
def test_ids_of_a_server_are_listed(service, server):
    with server() as url:
        for session_id in ("user_1", "user:2"):
            service.holds(f"conv_{session_id[-1]}", turns(1))
            service.output("copy", f"conv_{session_id[-1]}", f"{url}#{session_id}", "--quiet")
        exit_code, said = service.failure("copy", f"{url}#user_3")
        assert (exit_code, "has no session 'user_3': it has 'user" in said) == (3, True)
        assert "'user_1'" in said
        assert "'user:2'" in said
        copied = dict(line.split("\t") for line in service.output("copy", url, "--all", "--quiet"))
    assert [service.texts(copied[session_id]) for session_id in ("user_1", "user:2")] == [
        service.texts("conv_1"),
        service.texts("conv_2"),
    ]


def test_copy_of_all_sessions_prints_each_id_with_its_conversation(service, tmp_path):
    histories = {"user_1": turns(1), "user\t2": turns(2), "conv_3": turns(3)}
    store = in_sqlite(tmp_path / "sessions.db", **histories)
    finished = service.run("copy", store, "--all")
    copied = dict(line.split("\t") for line in finished.stdout.splitlines())
    assert list(copied) == ["user_1", r"user\t2", "conv_3"]
    assert [len(service.texts(each)) for each in copied.values()] == [2, 4, 6]
    assert (finished.returncode, finished.stderr.splitlines()[-1]) == (0, "Copied 3 sessions with 12 items.")


def test_copy_of_all_sessions_to_names_may_be_repeated(service, tmp_path):
    store = in_sqlite(tmp_path / "sessions.db", user_1=turns(1), user_2=turns(2))
    directory = Directory(service, tmp_path / "names.db")
    service.output("directory", "upgrade", "--quiet")
    copied = dict(line.split("\t") for line in service.output("copy", store, "--all", "--quiet"))
    assert copied == directory.names()
    in_sqlite(tmp_path / "sessions.db", user_2=[user("More")], user_3=turns(1))
    finished = service.run("copy", store, "--all")
    assert (finished.returncode, finished.stderr.splitlines()[-1]) == (
        0,
        "Copied 3 sessions with 3 items; 6 were there already.",
    )
    assert service.texts(copied["user_2"])[-1] == "More"
    assert list(directory.names()) == ["user_1", "user_2", "user_3"]


def test_copy_of_all_sessions_reports_those_that_cannot_be_copied(service, tmp_path):
    bad = [{"role": "tool", "tool_call_id": "call_1", "content": "1"}]
    store = in_sqlite(
        tmp_path / "sessions.db",
        user_1=turns(1),
        conv_2=turns(1),
        user_3=bad,
        user_4=[user("4")],
        user_5=turns(1),
    )
    directory = Directory(service, tmp_path / "names.db")
    directory.holds("user_4")
    finished = service.run("copy", store, "--all", "--quiet")
    assert finished.returncode == 4
    said = finished.stderr.splitlines()
    assert [line.partition(" was not copied: ")[0] for line in said[:-1]] == ["conv_2", "user_3", "user_4"]
    assert "--all needs a name" in said[0]
    assert "Chat Completions" in said[1]
    assert "--append" in said[2]
    assert said[-1] == "3 sessions could not be copied."
    assert [line.split("\t")[0] for line in finished.stdout.splitlines()] == ["user_1", "user_5"]
    assert list(directory.names()) == ["user_1", "user_4", "user_5"]


def test_copy_of_all_sessions_ends_when_the_service_fails(service, tmp_path):
    store = in_sqlite(tmp_path / "sessions.db", user_1=turns(1), user_2=turns(1), user_3=turns(1))
    service.emulator.inject(Fault("quota"), operation="create_items", after=1, times=9)
    finished = service.run("copy", store, "--all", "--quiet")
    (copied,) = finished.stdout.splitlines()
    assert copied.startswith("user_1\t")
    assert finished.returncode == 4
    assert finished.stderr.endswith(" 1 of 3 sessions were done before.\n")
    assert service.conversations() == [copied.split("\t")[1]]


def test_copy_of_all_sessions_goes_to_another_store(service, tmp_path):
    store = in_sqlite(tmp_path / "sessions.db", user_1=turns(1), user_2=turns(2))
    assert service.output("copy", store, f"sqlite:///{tmp_path}/copy.db", "--all", "--quiet") == []
    session = SQLiteSession("user_2", tmp_path / "copy.db")
    assert asyncio.run(session.get_items()) == turns(2)
    session.close()
    assert service.emulator.requests == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["conv_1"], "conv_1 is not a supported store; "),
        (["sqlite:///s.db#user_1"], "sqlite:///s.db#user_1 is not a supported store; "),
        (["sqlite:///s.db", "conv_1"], "conv_1 cannot take all sessions: "),
        (["sqlite:///s.db", "sqlite:///t.db#a"], "sqlite:///t.db#a cannot take all sessions: "),
        (["sqlite:///s.db", "sqlite:///s.db"], "sqlite:///s.db is both source and target: "),
    ],
)
def test_all_needs_a_store_and_a_place_for_all(service, arguments, said):
    exit_code, told = service.failure("copy", *arguments, "--all")
    assert (exit_code, told.startswith(said)) == (2, True)


def test_store_in_a_folder_that_is_not_there_is_told(service, tmp_path):
    service.holds("conv_1", turns(1))
    for scheme in ("sqlite", "sqlite+aiosqlite"):
        told = service.failure("copy", "conv_1", f"{scheme}:///{tmp_path}/none/sessions.db#user_1")
        assert told == (1, f"{tmp_path}/none: no such folder.")


@pytest.mark.parametrize(
    ("store", "exit_code", "said"),
    [
        ("sqlite:///none.db#user_1", 3, "none.db: no such file."),
        ("sqlite:///none.db", 2, " is not a supported store; "),
        ("sqlite://[none.db#user_1", 2, " is not a supported store; "),
        (
            "mysql://me:secret@host/x?password=secret#user_1",
            2,
            "mysql://me@host/x#user_1 is not a supported store; ",
        ),
        ("postgresql://me:secret@127.0.0.1:9/x#user_1", 1, "A connection failed: "),
        ("redis://:secret@127.0.0.1:9/0#user_1", 1, "failed: "),
    ],
)
def test_store_that_cannot_be_read_is_told_without_its_password(service, store, exit_code, said):
    told = service.failure("copy", store)
    assert (told[0], said in told[1], "secret" in told[1]) == (exit_code, True, False)
    assert service.conversations() == []


@pytest.mark.parametrize(
    ("store", "shown"),
    [
        ("sqlite:////var/x.db#user_1", "sqlite:////var/x.db#user_1"),
        ("redis://me:a/b#c?@d@host/0?password=secret#me@host", "redis://me@host/0#me@host"),
        ("postgresql://host:5432/x#user_1", "postgresql://host:5432/x#user_1"),
        ("mysql://[x", "mysql://[x"),
    ],
)
def test_store_is_shown_as_it_was_given_without_its_password(store, shown):
    assert shown == shown_store(store)
