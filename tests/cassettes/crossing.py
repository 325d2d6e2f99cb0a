"""Record or play one flow with whatever openai is installed: `python -m tests.cassettes.crossing PATH [URL]`.

Prints what the session gave back, as JSON. With a URL it records from there.
"""

import asyncio
import json
import sys

from openai_sessions.testing.cassettes import use_cassette
from tests.cassettes.exchanges import NOWHERE, write_read_pop


async def main(path, url=NOWHERE):
    async with use_cassette(path, record_mode="none" if url == NOWHERE else "all"):
        print(json.dumps(await write_read_pop(url)))  # noqa: T201 - it is a program


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
