"""Lithophone: OpenAI's audio API in front of IBM Granite Speech."""

__version__ = "0.1.0"
