"""The usage of runs, kept in the metadata of their conversation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from openai_sessions._counting import Count, counted_run, recent_counts
from openai_sessions._holding import Held
from openai_sessions._identity import Identity
from openai_sessions._metadata import check_room, replace_metadata
from openai_sessions._operations import operation
from openai_sessions._usage import USAGE_KEY, Usage, UsageRecord, marks_of
from openai_sessions.errors import ConversationNotCreatedError, InvalidUsageError

logger = logging.getLogger("openai_sessions")


class KeptUsage(Identity):
    """The part of a session that counts what its runs use."""

    @operation()
    async def store_run_usage(self, result: object) -> None:
        """Add what a run has used to the totals of the conversation; each run once.

        Call it after `Runner.run`, or once the events of `Runner.run_streamed` are read, as with
        `AdvancedSQLiteSession` of the Agents SDK. Called again with the result of the same run, or with
        that of a run resumed from it in this process, it adds what has come since, and makes no request
        when that is nothing.

        It takes two requests: the metadata is read, and written back with the new totals; all other
        pairs stay. Nothing is lost among the session objects of a process, and among processes that share
        a `lock`. Without one, two processes may overwrite each other's totals. A process that finds its
        own newest counts overwritten, at its next count or `get_session_usage()`, adds them again.

        Args:
            result: A `RunResult` or `RunResultStreaming` of the Agents SDK. When its usage is None or zero,
                nothing is done.

        Raises:
            TypeError: It is not the result of a run. Nothing was sent.
            ConversationNotCreatedError: The session is unused, or was cleared since the run.
            MetadataFullError: The conversation has 16 pairs of metadata already. Nothing was changed.
            InvalidUsageError: What stands in the place of the totals is not theirs. Nothing was changed.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed: the run may or may not be counted. Call it again with
                the same result: it is counted once. So it is after a cancellation. A count that was on its
                way is also completed by the next one, or by `get_session_usage()`, in this process.
        """
        total = Usage.of_run(result)
        if total is None or total == Usage():
            return
        marks = marks_of(result)
        if not await self._conversation.run(lambda held: _count_run(held, marks, total)):
            raise ConversationNotCreatedError

    @operation()
    async def get_session_usage(self) -> Usage | None:
        """Return the totals of the conversation, in one request; None when nothing was counted.

        An unused session makes none. Any process that resumes the conversation sees the same totals. A
        second request puts back a recent count of this process that was overwritten; when that fails, the
        totals are returned with it all the same, and the next operation on them tries again.

        Raises:
            InvalidUsageError: What stands in the place of the totals is not theirs.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: The totals could not be read.
        """
        return await self._conversation.run(_read_usage)

    @operation()
    async def set_session_usage(self, usage: Usage) -> None:
        """Put other totals in the place of those of the conversation, whatever stands there.

        Raises:
            TypeError: It is no `Usage`. Nothing was sent.
            ValueError: A number of it is no whole number from 0. Nothing was sent.
            ConversationNotCreatedError: The session is unused.
            MetadataFullError: The conversation has 16 pairs of metadata already. Nothing was changed.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed: the totals may or may not be replaced. Call it again. The
                same holds when the caller is cancelled.
        """
        if not isinstance(usage, Usage):
            raise TypeError(f"usage is an openai_sessions.Usage, not {type(usage).__name__}")
        usage.check()
        if not await self._conversation.run(lambda held: _replace_usage(held, usage)):
            raise ConversationNotCreatedError


async def _count_run(held: Held, marks: Sequence[object], total: Usage) -> bool:
    """Count what a run has used since it was counted last, in two requests or, when that is nothing, none."""
    counted = counted_run(marks, held.conversation_id)
    since = total.since(counted.seen)
    if since == Usage() and not counted.unconfirmed:
        return True
    metadata = await held.gateway.metadata_of(held.conversation_id)
    record = _record_in(metadata, held.conversation_id)
    recent = recent_counts(held.known)
    recent.add(counted.unconfirmed)
    counts = recent.missing_in(record)
    if since != Usage():
        check_room(held.conversation_id, {**metadata, USAGE_KEY: ""})
        count = Count(since)
        counted.note(count, total)
        recent.add([count])
        counts.append(count)
    if counts:
        await _write(held, metadata, _with_counts(record, counts), counts)
    return True


async def _read_usage(held: Held) -> Usage | None:
    metadata = await held.gateway.metadata_of(held.conversation_id)
    record = _record_in(metadata, held.conversation_id)
    missing = recent_counts(held.known).missing_in(record)
    if not missing:
        return record.total if record else None
    completed = _with_counts(record, missing)
    try:
        await _write(held, metadata, completed, missing)
    except Exception as error:  # noqa: BLE001 -- the totals are known; the next operation tries again
        logger.warning("%s: a count could not be completed: %s", held.conversation_id, type(error).__name__)
    return completed.total


async def _replace_usage(held: Held, usage: Usage) -> bool:
    metadata = await held.gateway.metadata_of(held.conversation_id)
    try:
        before = _record_in(metadata, held.conversation_id) or UsageRecord(Usage())
    except InvalidUsageError:
        before = UsageRecord(Usage())
    record = before.replaced_by(usage, behind=recent_counts(held.known).newest)
    await _write(held, metadata, record)
    return True


def _with_counts(record: UsageRecord | None, counts: Sequence[Count]) -> UsageRecord:
    """Return the record with more counts in it, and number these."""
    record = record or UsageRecord(Usage())
    for count in counts:
        record = record.plus(count.count_id, count.usage)
        count.number = min(count.number or record.counts, record.counts)
    return record


async def _write(
    held: Held, metadata: Mapping[str, str], record: UsageRecord, counts: Sequence[Count] = ()
) -> None:
    after = {**metadata, USAGE_KEY: record.as_value()}
    check_room(held.conversation_id, after)
    await replace_metadata(held, after)
    for count in counts:
        count.is_stored = True


def _record_in(metadata: Mapping[str, str], conversation_id: str) -> UsageRecord | None:
    value = metadata.get(USAGE_KEY)
    if value is None:
        return None
    try:
        return UsageRecord.from_value(value)
    except ValueError as error:
        raise InvalidUsageError(conversation_id, value, str(error)) from None
