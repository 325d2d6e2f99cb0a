"""The operations on files, through openai's client on a socket, and their errors."""

import time

import openai
import pytest

from openai_sessions.emulator import Emulator

from .wire import KEY, Wire

OTHER_KEY = "sk-other-key"


async def upload(client, name="notes.txt", content=b"Hello", **options):
    return await client.files.create(file=(name, content), purpose="user_data", **options)


async def test_file_is_uploaded_and_given_back(served, emulator):
    before = int(time.time())
    content = bytes(range(256)) * 4096  # 1 MiB, as it is, more than a form keeps in memory
    file = await upload(served, "photo.bin", content)
    assert ("photo.bin", "user_data", len(content), "processed") == (
        file.filename,
        file.purpose,
        file.bytes,
        file.status,
    )
    assert (file.object, file.expires_at, file.id[:5]) == ("file", None, "file-")
    assert before <= file.created_at <= int(time.time())
    assert file == await served.files.retrieve(file.id)
    assert content == (await served.files.content(file.id)).content
    assert (file.model_dump(exclude_unset=True),) == emulator.files()


async def test_content_is_no_json(served):
    file = await upload(served)
    answer = await served.files.content(file.id)
    assert ("application/octet-stream", b"Hello") == (answer.response.headers["content-type"], answer.content)


async def test_deleted_file_is_a_404(served, emulator):
    file, kept = await upload(served), await upload(served)
    deleted = await served.files.delete(file.id)
    assert {"id": file.id, "object": "file", "deleted": True} == deleted.model_dump()
    for call in (served.files.retrieve, served.files.content, served.files.delete):
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {file.id}") as caught:
            await call(file.id)
        assert ("id", None) == (caught.value.param, caught.value.code)
    assert [kept.id] == [each["id"] for each in emulator.files()]


async def test_files_are_listed_newest_first_in_pages(served):
    uploaded = [(await upload(served, f"{number}.txt")).id for number in range(5)]
    assert list(reversed(uploaded)) == [file.id async for file in served.files.list(limit=2)]
    assert uploaded == [file.id async for file in served.files.list(limit=2, order="asc")]
    page = await served.files.list(limit=2, after=uploaded[3])
    assert ([uploaded[2], uploaded[1]], True) == ([file.id for file in page.data], page.has_more)


async def test_files_are_listed_by_purpose(served):
    await upload(served)
    file = await served.files.create(file=("lines.jsonl", b"{}"), purpose="batch")
    assert [file.id] == [each.id async for each in served.files.list(purpose="batch")]
    assert [] == [each async for each in served.files.list(purpose="vision")]


async def test_pages_of_files_have_at_most_10000(served):
    with pytest.raises(openai.BadRequestError) as caught:
        await served.files.list(limit=10_001)
    assert ("limit", "integer_above_max_value") == (caught.value.param, caught.value.code)
    with pytest.raises(openai.NotFoundError, match="File with id 'file-unknown' not found"):
        await served.files.list(after="file-unknown")


async def test_file_says_when_it_expires(served):
    file = await upload(served, expires_after={"anchor": "created_at", "seconds": 3600})
    assert file.created_at + 3600 == file.expires_at


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("missing_required_parameter", "purpose")),
        ({"purpose": "none"}, ("invalid_value", "purpose")),
        ({"purpose": "user_data", "title": "x"}, ("unknown_parameter", "title")),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, ("missing_required_parameter", "[anchor]")),
        (
            {"purpose": "batch", "expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
            ("invalid_value", "[anchor]"),
        ),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "1 h"},
            ("invalid_type", "[seconds]"),
        ),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "59"},
            ("integer_below_min_value", "[seconds]"),
        ),
    ],
)
async def test_wrong_field_of_an_upload_is_a_400(wire, emulator, fields, expected):
    code, param = expected
    status, answer = await wire.send("POST", "/files", files={"file": ("a.txt", b"a")}, data=fields)
    assert (400, code) == (status, answer["error"]["code"])
    assert answer["error"]["param"].endswith(param)
    assert () == emulator.files()


@pytest.mark.parametrize(
    "body", [{"json": {"file": "a", "purpose": "batch"}}, {"data": {"file": "a", "purpose": "batch"}}, {}]
)
async def test_upload_without_a_file_is_a_400(wire, body):
    status, answer = await wire.send("POST", "/files", **body)
    assert (400, "file") == (status, answer["error"]["param"])


async def test_broken_form_is_a_400(wire):
    headers = {"content-type": "multipart/form-data"}
    status, answer = await wire.send("POST", "/files", content=b"--x", headers=headers)
    assert (400, "invalid_request_error") == (status, answer["error"]["type"])
    assert "Missing boundary" in answer["error"]["message"]


async def test_each_key_sees_only_its_own_files(emulator, wire):
    _, file = await wire.send(
        "POST", "/files", files={"file": ("a.txt", b"a")}, data={"purpose": "user_data"}
    )
    other, path = Wire(emulator, key=OTHER_KEY), f"/files/{file['id']}"
    answers = [await other.get(path), await other.get(f"{path}/content"), await other.delete(path)]
    assert [404, 404, 404] == [status for status, _ in answers]
    assert [] == (await other.get("/files"))[1]["data"]
    assert [file] == (await wire.get("/files"))[1]["data"]


async def test_upload_is_logged_without_the_content(served, emulator):
    await upload(served)
    (request,) = emulator.requests
    assert ("create_file", 200) == (request.operation, request.status)
    assert {"purpose": "user_data", "file": "notes.txt"} == request.body


async def test_file_stays_in_the_database(tmp_path):

    with Emulator(tmp_path / "emulator.db") as emulator:
        file = await upload(emulator.client(api_key=KEY))
    with Emulator(tmp_path / "emulator.db") as emulator:
        assert b"Hello" == (await emulator.client(api_key=KEY).files.content(file.id)).content
