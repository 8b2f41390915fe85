"""How much memory a model needs, and whether it is there, before any weight file is opened. Loads no weights."""
