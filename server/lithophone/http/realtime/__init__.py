"""OpenAI's realtime protocol, for transcription sessions: the socket `/v1/realtime` and the tokens of browsers."""
