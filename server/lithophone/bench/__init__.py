"""`lithophone bench`: how fast a model is on this machine, beside transformers' own `generate` in the same run."""
