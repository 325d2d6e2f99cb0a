"""Ids in little memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions._conversation.state import PackedIds


@given(st.dictionaries(st.text(), st.lists(st.text()), max_size=3), st.booleans())
def test_ids_come_out_as_they_went_in(lists, is_packed):
    packed = PackedIds()
    for name, ids in lists.items():
        packed[name] = ids
        if is_packed:
            packed.pack()
    assert lists == {name: packed[name] for name in lists}
    assert [] == packed["of another name"]


@pytest.mark.parametrize(("count", "is_packed"), [(32, False), (33, True)])
def test_a_few_are_left_as_they_are(count, is_packed):
    packed = PackedIds()
    packed["ids"] = map(str, range(count))
    packed.pack()
    assert is_packed == bool(packed._packed)
    packed.pack()
    assert list(map(str, range(count))) == packed["ids"]
    assert not packed._packed
