"""An agent with a LocalShellTool, whose outputs the Agents SDK writes without the id that they need."""

import agents
from agents import Agent, LocalShellTool, Runner
from openai.types.responses.response_output_item import LocalShellCall

from openai_sessions import OpenAIConversationsSession

from .scripted import item_id, roles_and_types, says
from .staging import play_alike, run

ACTION = {"type": "exec", "command": ["ls"], "env": {}}
KINDS = ["user", "local_shell_call", "local_shell_call_output", "assistant"]


def runs_ls(call_id):
    return LocalShellCall(
        id=item_id("lsh", call_id),
        type="local_shell_call",
        call_id=call_id,
        status="completed",
        action=ACTION,
    )


def shell():
    return LocalShellTool(executor=lambda request: f"{' '.join(request.data.action.command)}: main.py")


async def test_turns_with_a_local_shell(client):
    async def scenario(stage):
        model = stage.model([runs_ls("call_1")], [says("One.")], [runs_ls("call_2")], [says("Still one.")])
        agent = Agent(name="Clerk", model=model, tools=[shell()])
        await stage.run(agent, "How many files?")
        await stage.run(agent, "And now?")

    played = await play_alike(scenario, run, client)  # the scripted model does not stream such calls

    assert ["One.", "Still one."] == played.outcomes
    assert KINDS * 2 == roles_and_types(played.history)
    assert "ls: main.py" == played.history[2]["output"]


async def test_turns_with_a_local_shell_and_the_class_for_responses(emulator, client):
    emulator.reply({"type": "local_shell_call", "call_id": "call_1", "status": "completed", "action": ACTION})
    emulator.reply("One.")
    emulator.reply(lambda request: f"After {len(request.items)} items.")
    session = OpenAIConversationsSession(openai_client=client)
    model = agents.OpenAIResponsesModel("codex-mini-latest", client)
    agent = Agent(name="Clerk", model=model, tools=[shell()])
    await Runner.run(agent, "How many files?", session=session)
    result = await Runner.run(agent, "Sure?", session=session)
    assert "After 5 items." == result.final_output
    assert [*KINDS, "user", "assistant"] == roles_and_types(await session.get_items())
