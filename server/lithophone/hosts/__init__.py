"""Where a model runs, and which models there are. Knows no audio, no job and no format."""
