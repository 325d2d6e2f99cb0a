"""Checks of keys, their derivation, and where they must not appear."""

import copy
import logging
import pickle
import subprocess
import sys
import traceback

import pytest
from cryptography.fernet import Fernet

from openai_sessions import InvalidItemError
from openai_sessions.encryption import EncryptedSession
from openai_sessions.encryption._envelope import session_cipher
from openai_sessions.encryption._keys import checked_keys
from tests.examples.stand_in import ROOT

from .stores import HELLO, KEY, OTHER_KEY, ListSession

SECRET = "correct horse battery staple"


@pytest.mark.parametrize("key", [KEY, KEY.encode(), SECRET, b"\x00\x01\x02\x03\x04" * 4])
async def test_valid_key_is_accepted(encrypted, key):
    underlying = ListSession()
    await encrypted(underlying, key=key).add_items([HELLO])

    assert [HELLO] == await encrypted(underlying, key=key).get_items()


@pytest.mark.parametrize("key", ["", b"", [], ["", KEY]])
def test_empty_key_is_refused(encrypted, key):
    with pytest.raises(
        ValueError, match=r"encryption_key.* is (empty|an empty list): generate one with .*Fernet"
    ):
        encrypted(key=key)


@pytest.mark.parametrize("key", ["hunter2", "your-secret-key", "a" * 40, b"0123456789abcde", "0101" * 8])
def test_weak_key_is_refused_without_showing_it(encrypted, key):
    with pytest.raises(ValueError, match=r"encryption_key is too weak: .*Fernet\.generate_key") as raised:
        encrypted(key=key)
    assert (key.decode() if isinstance(key, bytes) else key) not in str(raised.value)


@pytest.mark.parametrize("key", [None, 42, {KEY: KEY}, [KEY, 42], [None]])
def test_key_of_another_type_is_refused_without_showing_it(encrypted, key):
    with pytest.raises(TypeError, match="encryption_key") as raised:
        encrypted(key=key)
    assert KEY not in str(raised.value)
    assert "42" not in str(raised.value)


def test_fernet_key_is_decoded():
    assert checked_keys(Fernet.generate_key()) != checked_keys(KEY)
    assert [32] == [len(key) for key in checked_keys(KEY)]
    assert [SECRET.encode()] == checked_keys(SECRET)


def test_cipher_depends_on_session_and_key():
    ciphers = [
        session_cipher(name, checked_keys(key)) for name in ("first", "second") for key in (KEY, OTHER_KEY)
    ]
    tokens = [cipher.encrypt(b"text") for cipher in ciphers]

    opened = [[opens(cipher, token) for token in tokens] for cipher in ciphers]

    assert [[row == column for row in range(4)] for column in range(4)] == opened


def opens(cipher, token):
    try:
        return cipher.decrypt(token) == b"text"
    except Exception:  # noqa: BLE001 -- whatever is wrong with it
        return False


async def test_key_is_never_shown(encrypted, hosted, caplog):
    caplog.set_level(logging.DEBUG)
    session = encrypted(key=[KEY, SECRET])
    await session.add_items([HELLO])
    await hosted.add_items([HELLO])
    await session.get_items()
    with pytest.raises(InvalidItemError) as raised:
        await session.add_items([{"role": 7}])

    shown = [repr(session), str(session), str(raised.value), caplog.text, repr(vars(session))]
    assert [] == [text for text in shown if KEY in text or SECRET in text]


@pytest.mark.parametrize("key", ["\udcffPYoP8Q2wWW0nFM3mRJjB5Cvs4", ["\ud800PYoP8Q2wWW0nFM3mRJjB5Cvs4"]])
def test_key_with_a_surrogate_is_refused_without_showing_it(encrypted, key):
    """A value of os.environ that is not UTF-8; Python's own error would contain all of it."""
    with pytest.raises(ValueError, match="contains a lone surrogate: pass it as bytes") as raised:
        encrypted(key=key)
    assert "PYoP8" not in "".join(traceback.format_exception(raised.value))
    assert (None, None) == (raised.value.__cause__, raised.value.__context__)


@pytest.mark.parametrize("make_copy", [pickle.dumps, copy.copy, copy.deepcopy])
def test_session_cannot_be_copied(encrypted, make_copy):
    with pytest.raises(TypeError, match="cannot be pickled or copied, because that would expose its keys"):
        make_copy(encrypted())


def test_session_id_is_required():
    with pytest.raises(ValueError, match="session_id is empty"):
        EncryptedSession("", ListSession(), KEY)
    with pytest.raises(TypeError, match="session_id must be a string, not NoneType"):
        EncryptedSession(None, ListSession(), KEY)
    with pytest.raises(ValueError, match=r"session_id '\\ud800' contains a lone surrogate"):
        EncryptedSession("\ud800", ListSession(), KEY)


@pytest.mark.parametrize("ttl", [0, -1, True, "600", float("inf"), float("nan")])
def test_ttl_must_be_a_positive_number_or_none(encrypted, ttl):
    with pytest.raises(ValueError, match="ttl must be a positive number of seconds, or None"):
        encrypted(ttl=ttl)


@pytest.mark.exhaustive
def test_extra_is_named_where_cryptography_is_missing():
    """The class can be imported without it."""
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from openai_sessions.encryption import EncryptedSession\n"
        "from openai_sessions import OpenAIConversationsSession\n"
        "try:\n"
        f"    EncryptedSession('u', OpenAIConversationsSession(), '{KEY}')\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    expected = "EncryptedSession requires the package cryptography: pip install 'openai-sessions[encrypt]'\n"
    assert expected == shown
