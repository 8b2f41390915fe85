"""Scheduling and the flow of one transcription, between the wire and the model."""
