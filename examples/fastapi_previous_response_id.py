"""A chat of chained responses: `uvicorn --app-dir examples fastapi_previous_response_id:app`."""

from agents import Agent, Runner
from fastapi import FastAPI
from pydantic import BaseModel

AGENT = Agent(name="Guide", instructions="Answer in one short sentence.")


class Message(BaseModel):
    text: str
    response_id: str | None = None  # of the answer before; check here that it belongs to the user


app = FastAPI()


@app.post("/chat")
async def chat(message: Message) -> Message:
    result = await Runner.run(
        AGENT, message.text, previous_response_id=message.response_id, auto_previous_response_id=True
    )
    return Message(text=result.final_output, response_id=result.last_response_id)
