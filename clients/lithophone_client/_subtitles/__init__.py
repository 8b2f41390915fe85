"""Subtitles as the server writes them: its own code, copied, so that neither wheel needs the other.

A test keeps the copies equal to their originals in `lithophone.formats`, `lithophone.granite.words` and
`lithophone.engine.segmentation`; change those, then these.
"""
