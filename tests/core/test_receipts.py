"""Finding a request among the newest items, and receipts as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from openai_sessions._conversation.state import CannotTellError, Receipt, SentItems
from openai_sessions._items.forms import replay_form, to_stored
from tests.strategies import stored_items, texts, written_items


def listed(*names: str) -> list[dict]:
    """Return items as listed; `a1` is a message `a` with the id `a1`."""
    return [
        {
            "id": name,
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_text", "text": name.rstrip("0123456789")}],
        }
        for name in names
    ]


def sent(texts: str, *, after: str = "", sends: int = 1) -> SentItems:
    """Return a request of one message per letter, sent after the items named."""
    return SentItems(
        tuple({"role": "user", "content": text} for text in texts), tuple(after.split()), sends=sends
    )


def copies(request: SentItems, names: str, known: str = "") -> list[str]:
    """Return the ids of each copy, joined."""
    return [" ".join(copy) for copy in request.copies_in(listed(*names.split()), set(known.split()))]


@pytest.mark.parametrize(
    ("request_", "names", "expected"),
    [
        pytest.param(sent("ab", after="x1"), "x1 a1 b1", ["a1 b1"], id="whole"),
        pytest.param(sent("ab", after="x1"), "x1", [], id="nothing-new"),
        pytest.param(sent("ab", after="x1"), "x1 a1", [], id="half"),
        pytest.param(sent("ab", after="x1"), "x1 b1 a1", [], id="out-of-order"),
        pytest.param(sent("ab", after="x1"), "x1 a1 c1 b1", [], id="torn"),
        pytest.param(sent("ab", after="x1"), "x1 c1 a1 b1 d1", ["a1 b1"], id="among-foreign-items"),
        pytest.param(sent("ab", after="x1"), "x1 a1 a2 b2", ["a2 b2"], id="after-a-false-start"),
        pytest.param(sent("ab", after="x1"), "a1 b1 x1", [], id="before-the-anchor"),
        pytest.param(sent("ab", after="x1"), "a1 x1 b1", [], id="around-the-anchor"),
        pytest.param(sent("a", after="x1 y1"), "x1 a1 y1 a2", ["a2"], id="behind-the-newest-anchor"),
        pytest.param(sent("a", after="x1 y1"), "x1 a1", ["a1"], id="newest-anchor-gone"),
        pytest.param(sent("a", after="y1 x1"), "x1 a1 y1 a2", ["a2"], id="newest-of-the-listing"),
        pytest.param(sent("ab"), "a1 b1", ["a1 b1"], id="first-of-all"),
        pytest.param(sent("ab"), "", [], id="empty-listing-and-no-anchors"),
        pytest.param(sent("ab", sends=2), "a1 b1 a2 b2", ["a1 b1", "a2 b2"], id="two-copies"),
        pytest.param(sent("ab", sends=2), "a1 b1 c1 a2 b2", ["a1 b1", "a2 b2"], id="two-copies-apart"),
        pytest.param(sent("ab", sends=3), "a1 b1", ["a1 b1"], id="fewer-copies-than-sends"),
        pytest.param(sent("aa"), "a1 a2", ["a1 a2"], id="identical-items"),
        pytest.param(sent("aa"), "a1 a2 a3", ["a1 a2"], id="identical-items-and-one-more"),
        pytest.param(sent("aa", sends=2), "a1 a2 a3 a4", ["a1 a2", "a3 a4"], id="copies-do-not-overlap"),
        pytest.param(sent("aba", sends=2), "a1 b1 a2 b2 a3", ["a1 b1 a2"], id="shared-ends-count-once"),
    ],
)
def test_copies(request_, names, expected):
    assert expected == copies(request_, names)


@pytest.mark.parametrize(
    ("names", "known", "expected"),
    [
        ("a1 b1 a2 b2", "a1 b1", ["a2 b2"]),
        ("a1 b1 a2 b2", "b1", ["a2 b2"]),
        ("a1 b1 a2 b2", "a1 b2", []),
        ("a1 b1", "a1 b1", []),
    ],
)
def test_known_ids_are_never_of_a_copy(names, known, expected):
    assert expected == copies(sent("ab"), names, known)


def test_an_item_without_an_id_is_never_of_a_copy():
    nameless = [{key: value for key, value in item.items() if key != "id"} for item in listed("a1")]
    assert sent("a").copies_in([*nameless, *listed("a2")], ()) == [["a2"]]


@pytest.mark.parametrize("names", ["", "a1", "x1 a1"])
def test_without_a_surviving_anchor_nothing_can_be_told(names):
    with pytest.raises(CannotTellError, match="none of the items known before the request still exists"):
        copies(sent("a", after="y1 y2"), names)


@pytest.mark.parametrize(("sends", "names", "found"), [(1, "a1 a2", 2), (2, "a1 c1 a2 a3", 3), (0, "a1", 1)])
def test_more_copies_than_sends_cannot_be_told_apart(sends, names, found):
    expected = f"^{found} copies were found of a request that was sent {sends} times$"
    with pytest.raises(CannotTellError, match=expected):
        copies(sent("a", sends=sends), names)


def test_content_that_differs_is_no_copy():
    assert copies(sent("a"), "b1") == []
    roles = [{**listed("a1")[0], "role": "assistant"}]
    assert sent("a").copies_in(roles, ()) == []


ids = texts()
requests = st.builds(
    SentItems,
    st.lists(written_items(), min_size=1, max_size=3).map(tuple),
    st.lists(ids, max_size=3).map(tuple),
    st.integers(1, 6),
)
receipts = st.builds(
    Receipt,
    ids,
    st.lists(ids, max_size=3).map(tuple),
    st.lists(ids, max_size=3).map(tuple),
    st.lists(ids, max_size=3).map(tuple),
    st.lists(requests, max_size=2).map(tuple),
)


@given(receipts)
def test_a_receipt_comes_back_from_json(receipt):
    assert receipt == Receipt.from_json(json.loads(json.dumps(receipt.as_json())))


@given(st.lists(stored_items(), min_size=1, max_size=4, unique_by=lambda item: item.get("id")))
def test_every_kind_of_item_is_found_as_what_was_sent_of_it(items):
    written = tuple(to_stored([replay_form(item) for item in items]))
    assume(len(written) == len(items))  # reasoning that cannot be stored was not sent
    assert SentItems(written, (), sends=1).copies_in(items, ()) == [[item["id"] for item in items]]


def test_a_receipt_as_json():
    receipt = Receipt("conv_1", ("x1",), ("a1",), ("f1",), (sent("b", after="x1 a1", sends=2),))
    assert receipt.as_json() == {
        "version": 1,
        "conversation_id": "conv_1",
        "anchors": ["x1"],
        "stored": ["a1"],
        "found": ["f1"],
        "unknown": [{"items": [{"role": "user", "content": "b"}], "anchors": ["x1", "a1"], "sends": 2}],
        "deleting": [],
    }


def test_a_receipt_of_a_deletion_has_ids_only():
    receipt = Receipt("conv_1", deleting=("a1", "a2"))
    assert receipt.as_json()["deleting"] == ["a1", "a2"]
    assert Receipt.from_json(receipt.as_json()) == receipt


GOOD = Receipt("conv_1", ("x1",), ("a1",), (), (sent("b"),)).as_json()


def without(key: str) -> dict:
    return {name: value for name, value in GOOD.items() if name != key}


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        "x",
        7,
        *map(without, GOOD),
        {**GOOD, "anchors": None},
        {**GOOD, "stored": 3},
        {**GOOD, "found": "a1", "stored": None},
        {**GOOD, "unknown": 3},
        {**GOOD, "unknown": ["x"]},
        {**GOOD, "unknown": [{}]},
        {**GOOD, "unknown": [{"items": ["ab"], "anchors": [], "sends": 1}]},
        {**GOOD, "unknown": [{"items": [None], "anchors": [], "sends": 1}]},
        {**GOOD, "unknown": [{"items": [{}], "anchors": [], "sends": None}]},
        {**GOOD, "unknown": [{"items": [{}], "anchors": [], "sends": "often"}]},
    ],
    ids=repr,
)
def test_other_json_is_no_receipt(value):
    with pytest.raises(ValueError, match="receipt"):
        Receipt.from_json(value)


def test_an_unknown_request_without_items_is_no_receipt():
    """Nothing could be looked for, and nothing is found everywhere."""
    with pytest.raises(ValueError, match="receipt"):
        Receipt.from_json({**GOOD, "unknown": [{"items": [], "anchors": [], "sends": 1}]})


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_a_receipt_of_another_version_is_refused(version):
    expected = f"^the receipt has version {version!r}, and this version of openai_sessions reads 1: pass "
    with pytest.raises(ValueError, match=expected):
        Receipt.from_json({**GOOD, "version": version})


def test_a_missing_field_is_named():
    with pytest.raises(ValueError, match=r"^the receipt is damaged: KeyError\('stored'\)"):
        Receipt.from_json(without("stored"))


def test_what_a_newer_minor_writer_adds_is_passed_over():
    assert Receipt.from_json({**GOOD, "note": "later"}) == Receipt.from_json(GOOD)
