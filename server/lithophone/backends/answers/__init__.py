"""From what was decoded in a window to its text, words and times: plain work of the processor that needs no model."""
