"""A chat with a sidebar: `uvicorn --app-dir examples chat.app:app --workers 2`. docs/chat-app.md has more."""
