"""Sound in: what the bytes are, PCM out of them, and where to cut it."""
