"""Adapters between the engine and whatever runs a model."""
