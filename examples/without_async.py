"""Use sessions without async: in scripts, threads and notebooks.

Needs OPENAI_API_KEY.
"""

from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

from openai_sessions.sync import OpenAIConversationsSession


def ask(client: OpenAI, session: OpenAIConversationsSession, question: str) -> str:
    history = session.get_items()
    response = client.responses.create(
        model="gpt-4.1-mini",
        input=[*history, {"role": "user", "content": question}],
        store=False,  # the session stores it
    )
    session.add_items([{"role": "user", "content": question}, *response.output])
    return response.output_text


def talk(landmark: str) -> list[str]:
    with OpenAI() as client, OpenAIConversationsSession() as session:
        return [
            ask(client, session, question)
            for question in (f"What city is the {landmark} in?", "What state is it in?")
        ]


with ThreadPoolExecutor() as threads:
    for answers in threads.map(talk, ["Golden Gate Bridge", "Space Needle"]):
        print(*answers)
