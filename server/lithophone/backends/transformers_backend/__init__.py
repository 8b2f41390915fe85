"""Granite Speech through transformers: the adapter that runs the real models."""
