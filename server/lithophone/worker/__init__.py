"""The loop that owns a backend: commands in, events out, and who runs next. Knows not which thread or process it is in."""
