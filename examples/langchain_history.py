"""Keep the messages of a chat model of LangChain in a hosted conversation.

Needs OPENAI_API_KEY and langchain-openai.
"""

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from openai_sessions.adapters.langchain import OpenAIConversationsChatMessageHistory
from openai_sessions.sync import OpenAIConversationsSession

model = ChatOpenAI(model="gpt-4.1-mini", use_responses_api=True, store=False)
with OpenAIConversationsSession() as session:
    history = OpenAIConversationsChatMessageHistory(session)
    for text in ("What city is the Golden Gate Bridge in?", "What state is it in?"):
        question = HumanMessage(text)
        answer = model.invoke([*history.messages, question])
        history.add_messages([question, answer])
        print(answer.text)
    print(len(history.messages), "messages in", session.session_id)
