import pytest

from .normalised import normalised


def test_normalised_ids_completed_statuses_and_empty_logprobs_go():
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
    }
    refused = {**message, "content": [*message["content"], {"type": "refusal", "refusal": "No"}]}
    bare = {
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": "Hi", "annotations": []},
            {"type": "refusal", "refusal": "No"},
        ],
    }

    assert [{"role": "assistant", "content": "Hi"}, bare] == normalised([message, refused])


def test_normalised_everything_else_stays():
    items = [
        {"type": "message", "role": "assistant", "status": "incomplete", "content": []},
        {
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hi", "logprobs": [{"token": "Hi"}]}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": '{"id": 1}'},
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": [{"type": "input_text", "text": "2"}],
        },
        {"role": "user", "content": "Hello"},
    ]

    assert items == normalised(items)


def test_normalised_a_text_is_one_message_of_the_user():
    assert [{"role": "user", "content": "Hello"}] == normalised("Hello")


def test_normalised_its_argument_stays_as_it_was():
    items = [
        {"id": "msg_1", "role": "user", "content": [{"type": "input_text", "text": "Hi", "logprobs": []}]}
    ]

    normalised(items)

    assert [
        {"id": "msg_1", "role": "user", "content": [{"type": "input_text", "text": "Hi", "logprobs": []}]}
    ] == items


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("1. user: Hello [1]", "1. user: Hello [1]"),
        ('2. {"type": "a", "id": "1", "status": "completed"}', '2. {"type": "a"}'),
        (
            '3. function_call: {"name": "add", "id": "1", "call_id": "2"}',
            '3. function_call: {"call_id": "2", "name": "add"}',
        ),
        (
            '4. assistant: [{"type": "output_text", "logprobs": []}]',
            '4. assistant: [{"type": "output_text"}]',
        ),
    ],
)
def test_normalised_a_history_told_in_a_text(line, plain):
    text = "<CONVERSATION HISTORY>\n{}\n</CONVERSATION HISTORY>"

    assert [{"role": "assistant", "content": text.format(plain)}] == normalised(
        [{"role": "assistant", "content": text.format(line)}]
    )


def test_normalised_other_texts_stay():
    items = [{"role": "user", "content": '1. {"id": 1}'}]

    assert items == normalised(items)
