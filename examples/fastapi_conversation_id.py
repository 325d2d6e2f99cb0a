"""A chat whose history the model reads: `uvicorn --app-dir examples fastapi_conversation_id:app`."""

from agents import Agent, Runner
from fastapi import FastAPI
from openai import AsyncOpenAI
from pydantic import BaseModel

from openai_sessions import OpenAIConversationsSession

CLIENT = AsyncOpenAI()  # needs OPENAI_API_KEY
AGENT = Agent(name="Guide", instructions="Answer in one short sentence.")


class Message(BaseModel):
    text: str
    conversation_id: str | None = None  # of the answer before; check here that it belongs to the user


app = FastAPI()


@app.post("/chat")
async def chat(message: Message) -> Message:
    session = OpenAIConversationsSession(conversation_id=message.conversation_id, openai_client=CLIENT)
    async with session.turn(server_managed=True) as turn:
        result = await Runner.run(
            AGENT, message.text, conversation_id=turn.conversation_id, run_config=turn.run_config
        )
    return Message(text=result.final_output, conversation_id=turn.conversation_id)
