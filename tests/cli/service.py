"""The command, and a service on a socket that it talks to."""

from __future__ import annotations

import json

from tests.cli.command import run, run_here
from tests.examples.stand_in import API_KEY


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def turns(number):
    """Return the items of so many turns, two each."""
    return [
        item
        for turn in range(1, number + 1)
        for item in (user(f"Question {turn}"), assistant(f"Answer {turn}"))
    ]


class Service:
    """A service with conversations, and the variables of a process that uses it."""

    def __init__(self, base_url, emulator):
        self.base_url = base_url
        self.emulator = emulator
        self.variables = {"OPENAI_API_KEY": API_KEY, "OPENAI_BASE_URL": base_url, "NO_PROXY": "127.0.0.1"}

    def holds(self, conversation_id, items):
        """Let the service hold a conversation; return its id."""
        self.emulator.seed([{"id": conversation_id, "items": items}])
        return conversation_id

    def conversations(self):
        """Return the ids of all conversations."""
        return [each.id for each in self.emulator.conversations()]

    def texts(self, conversation_id):
        """Return what the messages of a conversation say."""
        return [item["content"][0]["text"] for item in self.emulator.items(conversation_id)]

    def client(self):
        """Return a client of the service, without a socket."""
        return self.emulator.client(api_key=API_KEY)

    def run(self, *arguments, own_process=False, **options):
        """Run the command to its end, with no terminal: in this process, unless it is to have its own."""
        return (run if own_process else run_here)(*arguments, **{**self.variables, **options})

    def output(self, *arguments, **options):
        """Run the command, which must succeed and say nothing on standard error; return its lines."""
        finished = self.run(*arguments, **options)
        assert (finished.returncode, finished.stderr) == (0, "")
        return finished.stdout.splitlines()

    def json(self, *arguments, **options):
        """Run the command as `output` does; return its lines as what they hold."""
        return [json.loads(line) for line in self.output(*arguments, **options)]

    def failure(self, *arguments, **options):
        """Run the command, which must print one line of error alone; return its exit code and that."""
        finished = self.run(*arguments, **options)
        assert finished.stdout == ""
        (line,) = finished.stderr.splitlines()
        assert API_KEY not in line
        return finished.returncode, line
