"""What runs have found, as the smallest history that shows it."""

import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions.emulator import Fault
from tests.wire import FAST


@pytest.fixture
def session(emulator):
    return OpenAIConversationsSession(
        openai_client=emulator.client(), requests=RequestSettings(retry_policy=FAST)
    )


def users(*texts):
    return [{"role": "user", "content": text} for text in texts]


async def texts(session):
    return [item["content"] for item in await session.get_items()]


async def test_a_write_that_was_sent_again_is_no_copy_however_many_items_follow(emulator, session):
    """A late copy is looked for as far back as the cut request, beyond all ids that are remembered."""
    await session.add_items(users("first"))
    emulator.inject(Fault("cut_before"), operation="create_items")
    await session.add_items(users("again"))
    for start in range(0, 180, 20):
        await session.add_items(users(*map(str, range(start, start + 20))))
    assert ["first", "again", *map(str, range(180))] == await texts(session)


@pytest.mark.parametrize("kind", ["not_json", "stall_after_commit", "truncated_body"])
async def test_a_value_is_returned_whatever_became_of_the_answer_to_its_deletion(emulator, session, kind):
    await session.add_items(users("0", "1", "2"))
    emulator.inject(Fault(kind), operation="delete_item")
    assert "2" == (await session.pop_item())["content"]


async def test_a_value_is_returned_once_although_an_old_page_shows_it_again(emulator, session):
    await session.add_items(users("0", "1", "2"))
    await session.pop_item()
    emulator.inject(Fault("stale_page"), operation="list_items")
    emulator.inject(Fault("cut_before"), operation="delete_item")
    assert "1" == (await session.pop_item())["content"]
    assert ["0"] == await texts(session)


async def test_a_write_behind_a_pop_that_got_no_answer_is_found_although_its_anchor_is_gone(
    emulator, session
):
    """What a failed pop may have removed does not tell where a write begins."""
    await session.add_items(users("0"))
    emulator.inject(Fault("cut_after_commit"), operation="delete_item")
    emulator.inject(Fault("cut_before"), operation="delete_item", times=FAST.attempts - 1)
    with pytest.raises(openai.APIConnectionError):
        await session.pop_item()
    emulator.inject(Fault("cut_after_commit"), operation="create_items")
    await session.add_items(users("1"))
    assert ["1"] == await texts(session)
    assert "0" == (await session.pop_item())["content"]
