"""A chat that keeps its history in a session: `uvicorn --app-dir examples fastapi_session:app`."""

from agents import Agent, Runner, set_default_openai_client
from fastapi import FastAPI
from openai import AsyncOpenAI
from pydantic import BaseModel

from openai_sessions import OpenAIConversationsSession

CLIENT = AsyncOpenAI()  # needs OPENAI_API_KEY
set_default_openai_client(CLIENT)
AGENT = Agent(name="Guide", instructions="Answer in one short sentence.")


class Message(BaseModel):
    text: str
    conversation_id: str | None = None  # of the answer before; check here that it belongs to the user


app = FastAPI()


@app.post("/chat")
async def chat(message: Message) -> Message:
    session = OpenAIConversationsSession(conversation_id=message.conversation_id, openai_client=CLIENT)
    async with session.turn() as turn:
        result = await Runner.run(AGENT, message.text, session=turn)
    return Message(text=result.final_output, conversation_id=session.session_id)
