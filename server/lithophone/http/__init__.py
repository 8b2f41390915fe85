"""OpenAI's wire contract."""
