"""A named session passes the conformance suite."""

import itertools

import pytest

from openai_sessions.directory import SessionDirectory
from openai_sessions.testing import CHECKS, run_check

_numbers = itertools.count()


@pytest.mark.parametrize("name", CHECKS)
async def test_named_session_conforms(name, client, sqlite_url):
    async with SessionDirectory(sqlite_url, openai_client=client) as directory:

        async def make():
            return await directory.session(f"name {next(_numbers)}")

        result = await run_check(name, make, reopen=lambda session: directory.session(session.name))
        if result.outcome == "skipped":
            pytest.skip(result.detail)
        assert "passed" == result.outcome, str(result)
