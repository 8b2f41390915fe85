"""The way to the weights: what the hub has, what the cache has, and how the one becomes the other."""
