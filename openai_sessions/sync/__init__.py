"""A synchronous session, for scripts, notebooks and threads.

```python
from openai_sessions.sync import OpenAIConversationsSession

with OpenAIConversationsSession() as session:
    session.add_items([{"role": "user", "content": "Hello"}])
```
"""

from openai_sessions.sync._session import OpenAIConversationsSession

__all__ = ["OpenAIConversationsSession"]
