"""The keys of users, encrypted with the application's master key in the database of a directory."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions.directory._database import Database, insert_into, keys
from openai_sessions.directory._values import checked_name
from openai_sessions.encryption._keys import checked_keys, derived_cipher
from openai_sessions.errors import MasterKeyError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_INFO = b"openai_sessions.DirectoryKeyStore.v1"
"""HKDF `info`: keys derived from the same secret for another purpose differ."""

_KEY_BYTES = 32
"""The length of a user's key."""

_PAGE = 500
"""The number of rows that `rewrap()` reads at once."""


class DirectoryKeyStore:
    """A key for each user, as rows of a directory: a `KeyStore` for `EncryptedSession(…, store, user=…)`.

    Each key is 32 random bytes, stored as a Fernet token. The token's key is derived from the master key with
    HKDF-SHA256, and the tenant and the user as salt: a row that is copied to another user opens nothing.
    `SessionDirectory.key_store()` creates a store, and `SessionDirectory.erase()` deletes the user's row.

    Args:
        database: The database, as the tenant sees it.
        master_key: See `SessionDirectory.key_store()`.
    """

    def __init__(self, database: Database, master_key: str | bytes | Sequence[str | bytes]) -> None:
        self._database = database
        self._master_keys = checked_keys(master_key, "master_key")
        self._cipher("")  # raises now if the package is missing

    def __repr__(self) -> str:
        return f"<{type(self).__name__} tenant={self._database.tenant!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied, because that would expose its master key. "
            "Create a new one with directory.key_store(…) where you need it."
        )

    async def get_keys(self, user: str, *, create: bool) -> Sequence[bytes]:
        """Return the key of a user; nothing if there is none.

        Args:
            user: At most 255 characters.
            create: Whether to create a key if there is none. Of calls at the same time, in any process, all
                return the same key.

        Raises:
            MasterKeyError: The key was encrypted with another master key. It stays as it is.
            ValueError: The user is empty or too long.
            DirectorySchemaError: The tables are missing, or of another version.
            sqlalchemy.exc.SQLAlchemyError: The database is unreachable or raised an error.
        """
        checked_name(user, "user")
        stored = await self._database.read(lambda connection: self._stored(connection, user))
        if stored is None and create:
            stored = await self._database.write(lambda connection: self._stored_or_new(connection, user))
        return [] if stored is None else [self._opened(user, stored)]

    async def destroy_keys(self, user: str) -> bool:
        """Delete the key of a user, and return whether there was one.

        A backup of the database still has it, encrypted with the master key: see `rewrap()`.

        Raises:
            ValueError: The user is empty or too long.
            DirectorySchemaError: The tables are missing, or of another version.
            sqlalchemy.exc.SQLAlchemyError: The database is unreachable or raised an error.
        """
        checked_name(user, "user")
        tenant = self._database.tenant
        return await self._database.write(lambda connection: delete_keys(connection, tenant, user))

    async def rewrap(self) -> int:
        """Encrypt the keys of all users of the tenant with the newest master key.

        The keys themselves stay, and so does what was encrypted with them. Once it has returned and every
        process has the new master key, the old one is not needed any more; without it, the keys in backups
        made before cannot be read. It may be stopped at any point and repeated, and run in several processes
        at once.

        Returns:
            The number of keys that it has encrypted again.

        Raises:
            MasterKeyError: Some keys were encrypted with none of the master keys. All others are done.
            DirectorySchemaError: The tables are missing, or of another version.
            sqlalchemy.exc.SQLAlchemyError: The database is unreachable or raised an error.
        """
        count, refused, after = 0, [], ""
        while page := await self._page(after):
            for user, stored in page:
                try:
                    count += await self._rewrap(user, stored)
                except MasterKeyError:
                    refused.append(user)
            after = page[-1][0]
        if refused:
            raise MasterKeyError(refused)
        return count

    async def _rewrap(self, user: str, stored: str) -> bool:
        """Encrypt a stored key with the newest master key, unless it is; return whether it was changed."""
        if _decrypted(self._cipher(user, newest=True), stored) is not None:
            return False
        renewed = self._cipher(user).encrypt(self._opened(user, stored)).decode()
        statement = update(keys).where(*self._row(user), keys.c.encrypted_key == stored)

        async def replace(connection: AsyncConnection) -> bool:
            result = await connection.execute(statement.values(encrypted_key=renewed))
            return bool(result.rowcount)

        return await self._database.write(replace)

    async def _page(self, after: str) -> Sequence[tuple[str, str]]:
        """Return the users behind one in order, with their stored keys."""
        statement = (
            select(keys.c.user_id, keys.c.encrypted_key)
            .where(keys.c.tenant == self._database.tenant, keys.c.user_id > after)
            .order_by(keys.c.user_id)
            .limit(_PAGE)
        )

        async def read(connection: AsyncConnection) -> Sequence[tuple[str, str]]:
            return [(user, stored) for user, stored in await connection.execute(statement)]

        return await self._database.read(read)

    async def _stored(self, connection: AsyncConnection, user: str) -> str | None:
        stored: str | None = await connection.scalar(select(keys.c.encrypted_key).where(*self._row(user)))
        return stored

    async def _stored_or_new(self, connection: AsyncConnection, user: str) -> str:
        """Return the stored key of a user, created if there is none; of several writers, one creates it."""
        token = self._cipher(user).encrypt(secrets.token_bytes(_KEY_BYTES)).decode()
        statement = insert_into(connection, keys).values(
            tenant=self._database.tenant,
            user_id=user,
            encrypted_key=token,
            created_at=self._database.clock(),
        )
        while True:  # again if the other writer's key was destroyed in between
            await connection.execute(statement.on_conflict_do_nothing())
            stored = await self._stored(connection, user)
            if stored is not None:
                return stored

    def _opened(self, user: str, stored: str) -> bytes:
        """Return the key in a token.

        Raises:
            MasterKeyError: It was encrypted with none of the master keys.
        """
        key = _decrypted(self._cipher(user), stored)
        if key is None:
            raise MasterKeyError([user])
        return key

    def _cipher(self, user: str, *, newest: bool = False) -> MultiFernet:
        """Return the cipher of a user's row, with all master keys or only with the newest."""
        salt = json.dumps([self._database.tenant, user]).encode()
        master_keys = self._master_keys[:1] if newest else self._master_keys
        return derived_cipher(master_keys, salt=salt, info=_INFO, needed_by=type(self).__name__)

    def _row(self, user: str) -> tuple[Any, Any]:
        return keys.c.tenant == self._database.tenant, keys.c.user_id == user


async def delete_keys(connection: AsyncConnection, tenant: str, user: str) -> bool:
    """Delete the key of a user in a transaction, and return whether there was one.

    SQLite overwrites it in the file instead of leaving it in a free page.
    """
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("PRAGMA secure_delete = ON")
    statement = delete(keys).where(keys.c.tenant == tenant, keys.c.user_id == user)
    return bool((await connection.execute(statement)).rowcount)


def _decrypted(cipher: MultiFernet, stored: str) -> bytes | None:
    """Return the key in a token, or None if the cipher cannot open it."""
    from cryptography.fernet import InvalidToken  # noqa: PLC0415 -- of an extra

    try:
        return cipher.decrypt(stored)
    except InvalidToken:
        return None
