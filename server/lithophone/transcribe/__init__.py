"""Recordings on disk in, documents on disk out: which recordings, by whom, written where, and what is already there."""
