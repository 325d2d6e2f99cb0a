"""Memory for other frameworks in OpenAI's hosted conversations, one module for each framework.

Import the module of yours, such as `openai_sessions.adapters.pydantic_ai`. Each requires an extra.
"""
