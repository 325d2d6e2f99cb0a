"""`openai-sessions doctor` says what a bug report needs, and what is wrong with a setup."""

import re
import signal
import subprocess

import pytest
from starlette.responses import JSONResponse

from openai_sessions.cli._app import app
from openai_sessions.cli._setup import AZURE_PATH, find_access, settings, versions
from openai_sessions.emulator import Fault
from tests.cli.command import COMMAND, environment, eventually, run_here
from tests.cli.service import turns
from tests.cli.terminal import terminal
from tests.docs.markdown import code_blocks, table_after
from tests.examples.stand_in import API_KEY, ROOT

LOCAL = ["version", "python", "openai", "http", "packages", "extras", "base URL", "key", "account", "proxies"]
OF_SERVER = [
    *("server", "create", "write", "read", "pop", "batches", "history", "pages", "include", "storage"),
    *("delete", "gone"),
]
PASSWORD = {"DB_PASSWORD": "battery-staple-1"}
ID = r"conv_[0-9a-f]{48}"


class Diagnosis:
    """What the command has printed: its lines, and for each check the status, the detail and the remedy."""

    def __init__(self, finished):
        assert API_KEY not in finished.stdout + finished.stderr
        self.exit_code, self.stderr, self.lines = (
            finished.returncode,
            finished.stderr,
            finished.stdout.splitlines(),
        )
        self.checks, name = {}, None
        for line in self.lines:
            if found := re.fullmatch(r"(ok|note|failed) +(\w+( URL)?) +(?:\d+ (?:ms|s) +)?(.*)", line):
                name = found[2]
                self.checks[name] = (found[1], found[4])
            elif line.startswith(" " * 25):
                self.checks[name] = (*self.checks[name], line.strip())

    @property
    def failed(self):
        """Return the checks that failed."""
        return {name: told[1:] for name, told in self.checks.items() if told[0] == "failed"}


def diagnosis(service, *arguments, **options):
    return Diagnosis(service.run("doctor", *arguments, **options))


def requests(service):
    """Return the requests, without the deletions of items, which are sent at once."""
    return [
        (each.operation, *(each.query[name][0] for name in ("limit", "order") if name in each.query))
        for each in service.emulator.requests
        if each.operation != "delete_item"
    ]


def test_all_is_well_on_the_emulator(service):
    service.holds("conv_1", turns(2))
    found = diagnosis(service)
    assert (found.exit_code, found.stderr) == (0, "")
    assert [*LOCAL, *OF_SERVER] == list(found.checks)
    assert {"ok"} == {status for status, _ in found.checks.values()}
    assert found.checks["base URL"][1] == f"{service.base_url} (from OPENAI_BASE_URL)"
    assert found.checks["key"][1] == "from OPENAI_API_KEY"
    assert re.fullmatch(ID, found.checks["create"][1])
    assert found.lines[-1] == "All is well: 22 checks."
    of_the_machine = ("ok     python", "ok     http", "ok     extras")
    assert all(len(line) <= 80 or line.startswith(of_the_machine) for line in found.lines)


def test_nothing_but_a_new_conversation_is_touched(service):
    service.holds("conv_1", turns(2))
    (before,) = service.emulator.conversations()
    diagnosis(service)
    assert [before] == [*service.emulator.conversations()]
    assert service.texts("conv_1") == ["Question 1", "Answer 1", "Question 2", "Answer 2"]
    assert [] == [each.path for each in service.emulator.requests if "conv_1" in each.path]


def test_requests_are_those_of_a_session_and_four_lists(service):
    diagnosis(service)
    page, whole, newest = (("list_items", *each) for each in (("10", "asc"), ("100", "asc"), ("1", "desc")))
    assert requests(service) == [
        ("retrieve_conversation",),
        ("create_conversation",),
        ("create_items",),
        whole,  # read
        newest,  # pop
        whole,
        ("create_items",),  # 20 items
        ("create_items",),  # and 5
        whole,  # history
        ("list_items", "100", "desc"),
        *[page] * 3,
        *[whole] * 2,  # until nothing is left to be deleted
        ("delete_conversation",),
        ("retrieve_conversation",),
    ]
    deleted = [each.path for each in service.emulator.requests if each.operation == "delete_item"]
    assert len(deleted) == len({*deleted}) == 27


def test_offline_sends_no_request(service):
    found = diagnosis(service, "--offline")
    assert (found.exit_code, list(found.checks)) == (0, LOCAL)
    assert service.emulator.requests == ()


def test_json_has_one_object_for_each_check(service):
    checks = service.json("doctor", "--json")
    assert [*LOCAL, *OF_SERVER] == [each["check"] for each in checks]
    by_name = {each["check"]: each for each in checks}
    assert by_name["batches"] == {
        "check": "batches",
        "status": "ok",
        "detail": "25 items in two requests",
        "remedy": None,
        "ms": by_name["batches"]["ms"],
        "requests": 2,
    }
    assert by_name["batches"]["ms"] > 0
    assert by_name["key"]["ms"] is None


def known(lines):
    """Return lines without what differs from one machine or run to another."""
    numbers = [re.sub(r"conv_\w+| +\d+ ms|127\.0\.0\.1:\d+", "", line) for line in lines]
    return [
        re.sub(r"^(ok +(?:version|python|openai|http|packages|extras|proxies)).*", r"\1", line)
        for line in numbers
    ]


def test_document_shows_what_is_printed(service):
    document = (ROOT / "docs/doctor.md").read_text()
    well, refused = (block.splitlines()[1:] for block in code_blocks(document, "console")[:2])
    assert known(well) == known(diagnosis(service).lines)
    failed = diagnosis(service, "--base-url", "http://127.0.0.1:9/v1").lines[len(LOCAL) : -1]
    assert known(refused) == known(failed)


def test_document_names_every_option():
    rows = table_after((ROOT / "docs/doctor.md").read_text(), "# What is wrong")
    (command,) = [each for each in app.registered_commands if each.callback.__name__ == "doctor"]
    options = {name.removeprefix("as_") for name in command.callback.__annotations__.keys() - {"return"}}
    assert {re.match(r"`--([a-z-]+)", row[0])[1].replace("-", "_") for row in rows} == options


# What is wrong with a setup


def test_missing_key_is_told_with_the_variable_to_set(service):
    found = diagnosis(service, OPENAI_API_KEY="")
    assert (found.exit_code, list(found.checks)) == (1, LOCAL)
    remedy = "Set OPENAI_API_KEY; for `openai-sessions serve`, any text."
    assert found.failed == {"key": ("OPENAI_API_KEY is not set", remedy)}
    assert found.lines[-1] == "1 of 10 checks failed."
    assert service.emulator.requests == ()


def test_refused_key_is_told_without_any_part_of_it(service):
    found = diagnosis(service, OPENAI_API_KEY="sk-wrong-0123456789-tail")
    assert found.exit_code == 1
    remedy = f"Set OPENAI_API_KEY to a key of {service.base_url}."
    assert found.failed == {"server": ("401: the key is not accepted", remedy)}
    assert not re.search("wrong|tail|0123", "\n".join(found.lines))


def test_white_space_around_a_key_is_told_and_left_out(service):
    """openai's client sends it, and the HTTP library refuses it with an error that quotes the key."""
    found = diagnosis(service, OPENAI_API_KEY=f"{API_KEY}\n")
    assert found.exit_code == 1
    assert found.failed == {
        "key": (
            "OPENAI_API_KEY starts or ends with white space, which openai's client sends",
            "Set OPENAI_API_KEY again without it. The checks below leave it out.",
        )
    }
    assert found.checks["gone"][0] == "ok"


def test_key_that_no_header_can_hold_is_told_without_it(service):
    found = diagnosis(service, OPENAI_API_KEY="sk-secret\u00fcpart")
    assert found.failed["key"][0] == "OPENAI_API_KEY contains '\\xfc', which no key contains: set it again."
    assert "secret" not in "\n".join(found.lines)
    assert service.emulator.requests == ()


@pytest.mark.parametrize("url", ["localhost:80", "http://", "ftp://host/v1"])
def test_base_url_that_is_none_is_told(service, url):
    found = diagnosis(service, "--base-url", url)
    assert (found.exit_code, [*found.failed]) == (1, ["base URL"])
    assert found.failed["base URL"][0].startswith(f"--base-url is {url!r}; it must ")


def test_user_and_password_of_a_base_url_are_not_shown(service):
    url = service.base_url.replace("://", "://user:hidden-1@")
    found = diagnosis(service, "--base-url", url)
    assert found.checks["base URL"] == ("ok", f"{service.base_url} (from --base-url)")
    assert "hidden" not in "\n".join(found.lines)


def test_proxies_and_account_are_told_by_the_names_of_variables(service):
    account = {"OPENAI_ORG_ID": "org-0123456789abcdefgh", "OPENAI_PROJECT_ID": "proj_0123456789abcdefgh"}
    found = diagnosis(service, "--offline", **account, https_proxy="http://user:hidden-1@proxy.test")
    assert found.checks["account"][1] == "OPENAI_ORG_ID OPENAI_PROJECT_ID"
    assert {"NO_PROXY", "https_proxy"} <= {*found.checks["proxies"][1].split()}
    assert not re.search("hidden|0123", "\n".join(found.lines))


def test_home_of_the_user_is_not_shown(service, monkeypatch):
    """A file of certificates may be in it, and errors may name that."""
    monkeypatch.setenv("HOME", "/home/somebody")
    found = diagnosis(service, "--base-url", "ftp:///home/somebody/server")
    assert "somebody" not in "\n".join(found.lines)
    assert "'ftp://~/server'" in found.failed["base URL"][0]


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        (
            "http",
            "127.0.0.1:9",
            (
                "connect: {url} refused the connection",
                "Start the server, or check the port in --base-url.",
            ),
        ),
        (
            "http",
            "name.invalid",
            ("DNS: the host of {url} is unknown", "Check --base-url, and the network."),
        ),
        (
            "https",
            "{server}",
            (
                "TLS: no secure connection to {url}",
                "Check --base-url: a server without TLS needs http://, not https://.",
            ),
        ),
    ],
)
def test_server_that_is_not_reached_is_told_by_what_failed(service, scheme, host, expected):
    server = service.base_url.removeprefix("http://").removesuffix("/v1")
    url = f"{scheme}://{host.format(server=server)}/v1"
    found = diagnosis(service, "--base-url", url, NO_PROXY="*")
    assert (found.exit_code, found.stderr) == (1, "")
    assert found.failed == {"server": tuple(text.format(url=url) for text in expected)}


def test_proxy_that_is_not_reached_is_told(service):
    proxy = "http://user:hidden-1@127.0.0.1:9"
    found = diagnosis(service, "--base-url", "http://name.invalid/v1", NO_PROXY="", HTTP_PROXY=proxy)
    assert found.failed == {
        "server": (
            "connect: the proxy for http://name.invalid/v1 refused the connection",
            "Check the variables of proxies above; NO_PROXY names hosts that need none.",
        )
    }
    assert "hidden" not in "\n".join(found.lines)


def test_secret_that_a_server_tells_is_not_shown(service, shared_server):
    """Of the environment, whatever it is for; not only the key."""
    application, _ = shared_server
    message = f"The key {API_KEY} and the password battery-staple-1 are wrong."
    application.app = JSONResponse({"error": {"message": message}}, 403)
    found = diagnosis(service, **PASSWORD)
    assert found.failed["server"][0] == "403: The key REDACTED and the password REDACTED are wrong"


def test_server_that_does_not_answer_is_told_after_the_timeout(service):
    service.emulator.inject(Fault("stall"), operation="retrieve_conversation")
    found = diagnosis(service, "--timeout", "0.1")
    assert found.failed == {
        "server": (
            "no complete response within 0.1 s",
            "Check the server, and proxies between; give a slow server more time with --timeout.",
        )
    }


def test_reply_that_is_lost_is_recovered_from_and_told(service):
    service.emulator.inject(Fault("cut_after_commit"), operation="create_items")
    found = diagnosis(service)
    assert found.exit_code == 0
    assert found.checks["write"] == ("note", "2 items; recovered from 1 x no reply")


def test_conversation_that_cannot_be_deleted_is_named(service):
    service.emulator.inject(Fault("quota"), operation="delete_conversation")
    found = diagnosis(service)
    (left,) = service.conversations()
    assert found.exit_code == 4
    assert found.failed["left"] == (
        f"{left} was left behind",
        f"Delete it: openai-sessions clear {left} --purge",
    )
    assert "gone" not in found.checks


# Azure


AZURE = {"AZURE_OPENAI_ENDPOINT": "https://name.openai.azure.com/", "AZURE_OPENAI_API_KEY": "azure-key-1"}


@pytest.mark.parametrize(
    ("base_url", "variables", "expected"),
    [
        (None, {"OPENAI_API_KEY": "sk-1"}, ("https://api.openai.com/v1", "default", "OPENAI_API_KEY", False)),
        (None, {}, ("https://api.openai.com/v1", "default", "OPENAI_API_KEY", False)),
        (
            None,
            AZURE,
            (
                f"https://name.openai.azure.com{AZURE_PATH}",
                "AZURE_OPENAI_ENDPOINT",
                "AZURE_OPENAI_API_KEY",
                True,
            ),
        ),
        (
            None,
            {**AZURE, "AZURE_OPENAI_AD_TOKEN": "token"},
            (
                f"https://name.openai.azure.com{AZURE_PATH}",
                "AZURE_OPENAI_ENDPOINT",
                "AZURE_OPENAI_AD_TOKEN",
                True,
            ),
        ),
        (
            None,
            {**AZURE, "OPENAI_API_KEY": "sk-1"},
            ("https://api.openai.com/v1", "default", "OPENAI_API_KEY", False),
        ),
        (
            "https://name.openai.azure.com/openai/v1",
            {"OPENAI_API_KEY": "1", "OPENAI_BASE_URL": "https://name.openai.azure.com/openai/v1"},
            ("https://name.openai.azure.com/openai/v1", "OPENAI_BASE_URL", "OPENAI_API_KEY", True),
        ),
        (
            "https://other.test/v1",
            AZURE,
            ("https://other.test/v1", "--base-url", "OPENAI_API_KEY", False),
        ),
    ],
)
def test_requests_go_where_openai_sends_them(base_url, variables, expected):
    found = find_access(base_url, variables)
    assert expected == (found.base_url, found.url_source, found.key_variable, found.is_azure)


def test_key_of_azure_goes_to_no_other_server():
    assert find_access("https://other.test/v1", AZURE).key == ""


def test_key_is_not_in_the_representation():
    assert "azure-key-1" not in repr(find_access(None, AZURE))


def test_base_url_of_azure_without_its_path_is_told():
    url = "https://name.openai.azure.com/v1"
    (check, *_) = settings(find_access(url, {"OPENAI_API_KEY": "1"}), {"OPENAI_API_KEY": "1"})
    assert (check.status, check.detail) == ("failed", f"{url} (from --base-url, Azure)")
    assert check.remedy == ("On Azure it ends in /openai/v1, as in https://NAME.openai.azure.com/openai/v1.")


def test_endpoint_that_is_ignored_is_told():
    variables = {**AZURE, "OPENAI_API_KEY": "sk-1"}
    (check, *_) = settings(find_access(None, variables), variables)
    assert check.status == "note"
    assert check.detail.endswith("; AZURE_OPENAI_ENDPOINT is ignored, as OPENAI_API_KEY is set")


class AzureStandIn:
    """The emulator where Azure has the API, with the key in the header that Azure reads."""

    def __init__(self, emulator, key):
        self._emulator, self._key = emulator, key

    async def __call__(self, scope, receive, send):
        headers = dict(scope["headers"])
        assert scope["path"].startswith(f"{AZURE_PATH}/")
        assert (headers.pop(b"api-key", b"").decode(), b"authorization" in headers) == (self._key, False)
        headers[b"authorization"] = f"Bearer {API_KEY}".encode()
        path = scope["path"].removeprefix("/openai")
        await self._emulator({**scope, "path": path, "headers": [*headers.items()]}, receive, send)


def test_all_is_well_on_a_stand_in_for_azure(service, shared_server):
    application, _ = shared_server
    application.app = AzureStandIn(service.emulator, "azure-key-1")
    endpoint = service.base_url.removesuffix("/v1")
    variables = {"AZURE_OPENAI_ENDPOINT": endpoint, "AZURE_OPENAI_API_KEY": "azure-key-1", "NO_PROXY": "*"}
    found = Diagnosis(run_here("doctor", "--model", "gpt-of-mine", **variables))
    assert (found.exit_code, found.failed) == (0, {})
    assert found.checks["base URL"][1] == f"{endpoint}/openai/v1 (from AZURE_OPENAI_ENDPOINT, Azure)"
    assert found.checks["key"][1] == "from AZURE_OPENAI_API_KEY"
    assert "azure-key-1" not in "\n".join(found.lines)


# Interruption and versions


@pytest.mark.exhaustive
def test_ctrl_c_deletes_the_conversation(service):
    """In a process of its own, which gets the signal while a response is delayed."""
    service.emulator.inject(Fault("stall"), operation="list_items")
    process = subprocess.Popen(
        [*COMMAND, "doctor"],
        env=environment(**service.variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert eventually(lambda: any(each.fault for each in service.emulator.requests))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted." in errors.splitlines()
    assert API_KEY not in output + errors
    assert service.conversations() == []


@pytest.mark.exhaustive
def test_narrow_terminal_continues_details_below_their_column(service, tmp_path):
    with terminal(tmp_path, width=60, height=60, **service.variables) as screen:
        screen.run("doctor", "--base-url", "http://127.0.0.1:9/v1")
        exit_code, shown = screen.finish()
    assert exit_code == 1
    assert [shown[-5][25:], *shown[-4:-1]] == [
        "connect: http://127.0.0.1:9/v1",
        " " * 25 + "refused the connection",
        " " * 25 + "Start the server, or check the port",
        " " * 25 + "in --base-url.",
    ]


def test_versions_are_those_of_the_installed_packages():
    told = {each.check: each.detail for each in versions()}
    assert re.fullmatch(r"openai-sessions \d+\.\d+\.\d+", told["version"])
    assert re.match(r"openai \d+\.\d+\.\d+, openai-agents \d+\.\d+\.\d+$", told["openai"])
    assert re.match(r"httpx2? \d+\.\d+", told["http"])
    assert re.fullmatch(r"anyio \S+, tenacity \S+", told["packages"])
    assert {"cli", "testing"} <= {*told["extras"].partition(";")[0].split()}
