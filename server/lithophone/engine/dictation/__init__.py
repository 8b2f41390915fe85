"""Live transcription: a pure machine that takes audio and commands and gives events. Knows no socket, no clock, no model."""
