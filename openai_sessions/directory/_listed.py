"""The names of a directory as its user looks into them and changes them."""

from __future__ import annotations

from collections.abc import Mapping

from openai_sessions.directory._checks import checked_count, checked_name, checked_strings, checked_text
from openai_sessions.directory._connected import Connected
from openai_sessions.directory._listing import Listing
from openai_sessions.directory._values import SessionEntry, SessionPage


class ListedNames(Connected):
    """The part of a directory that says what it holds."""

    _listing: Listing

    async def get(self, name: str) -> SessionEntry | None:
        """Return what the directory says of a name; None when it has none.

        Raises:
            ValueError: The name is empty or too long.
            DirectorySchemaError: The tables are missing, or of another version.
        """
        return await self._listing.get(checked_name(name))

    async def list(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> SessionPage:
        """Return names in the order of their code points, one page of them.

        Args:
            prefix: Only names that begin with it. No character is special; upper and lower case differ.
            limit: How many at most.
            after: The `next_after` of the page before.

        Raises:
            ValueError: The limit is not a number from 1.
            DirectorySchemaError: The tables are missing, or of another version.
        """
        checked_after = None if after is None else checked_text(after, "after")
        return await self._listing.page(
            checked_text(prefix, "prefix"), limit=checked_count(limit, "limit"), after=checked_after
        )

    async def rename(self, old: str, new: str) -> None:
        """Give a name another one. Its conversation, metadata and branches stay, and so do its sessions.

        Raises:
            NameNotFoundError: There is no name `old`.
            NameTakenError: There is a name `new`. Nothing was changed.
        """
        await self._listing.rename(checked_name(old), checked_name(new))

    async def set_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Put pairs in the place of those that the directory keeps with a name.

        They stay in the database. Those that OpenAI keeps with a conversation are changed by the session's
        `update_metadata()`.

        Raises:
            NameNotFoundError: There is no such name.
            TypeError: The pairs are not strings.
        """
        await self._listing.set_metadata(checked_name(name), checked_strings(metadata) or {})

    async def forget(self, name: str, *, delete: bool = False) -> bool:
        """Remove a name.

        Args:
            name: The name.
            delete: Delete its conversations at OpenAI too, those of all branches. They are noted before,
                so that a sweep makes up for what fails.

        Returns:
            Whether there was such a name.

        Raises:
            openai.OpenAIError: A conversation could not be deleted. The name is removed.
        """
        conversation_ids = await self._listing.remove(checked_name(name), delete=delete)
        for conversation_id in conversation_ids or ():
            await self._delete(conversation_id)
            await self._leftovers.forget(conversation_id)
        return conversation_ids is not None
