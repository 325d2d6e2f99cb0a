"""Ids that a server creates are the same ones in each recording."""

import pytest
import yaml

from tools.recording.stable import finish, with_stable_ids

FIRST, SECOND, THIRD = (f"conv_{letter * 47}7" for letter in "abc")
MESSAGE = f"msg_{'7' * 48}"


def recorded(*pairs):
    return [{"request": {"uri": request}, "response": {"body": [response]}} for request, response in pairs]


def stable(*pairs):
    interactions = with_stable_ids(recorded(*pairs))
    return [(each["request"]["uri"], each["response"]["body"][0]) for each in interactions]


@pytest.mark.parametrize(
    "identifier",
    [
        *("conv_6a3f11765ab88196bb163daa1e6dc3030eea6ca4e48c1c16", "msg_" + "8" * 50, "fc_" + "1a" * 24),
        *("resp_" + "9" * 50, "rs_68a1b2c3d4e5f60718293a4b", "item_67d4472a5bb88190bee168ec5d59d790"),
    ],
)
def test_id_is_found(identifier):
    text = f'{{"id": "{identifier}", "a\\n{identifier}": "/{identifier}/items?after={identifier}"}}'
    assert identifier not in stable(("", text))[0][1]


@pytest.mark.parametrize(
    "text",
    [
        *("call_" + "1" * 24, "req_" + "1" * 32, "conv_short1", "conv_" + "a" * 48, "x_conv_" + "1" * 48),
        *("message_input_text", "some_snake_case_name_of_a_function1", "conv_" + "1" * 80),
    ],
)
def test_other_words_are_not_ids(text):
    assert stable(("", f'"{text}"')) == [("", f'"{text}"')]


def test_ids_are_numbered_in_order_of_appearance_and_keep_their_length():
    assert stable(("", f'"{FIRST}" "{MESSAGE}"'), (f"/{FIRST}/{SECOND}", f'"{SECOND}" "{THIRD}"')) == [
        ("", f'"conv_{1:048d}" "msg_{1:048d}"'),
        (f"/conv_{1:048d}/{SECOND}", f'"{SECOND}" "conv_{2:048d}"'),
    ]


def test_number_that_is_taken_is_skipped():
    taken = f"conv_{1:048d}"
    assert stable((taken, FIRST)) == [(taken, f"conv_{2:048d}")]


def test_body_of_several_lines_stays_as_many_lines(tmp_path):
    body = '{\n  "text": "¿Y en qué país?"\n}'
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump({"interactions": recorded(("/", body))}))
    finish(path, {"server": "smg"})
    written = path.read_text(encoding="utf-8")
    assert '  "text": "¿Y en qué país?"' in [line[6:] for line in written.splitlines()]
    assert body == yaml.safe_load(written)["interactions"][0]["response"]["body"][0]
