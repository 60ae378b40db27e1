"""/v1/responses: OpenAI's newer words for a chat, with typed events, kept for a while where that is allowed."""
