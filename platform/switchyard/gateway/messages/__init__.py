"""/v1/messages: Anthropic's words for a chat, read into ours and written back."""
