"""Linear layers of 8 and 4 bits on CPUs: how weights are rounded, kept and multiplied, and which layers that is done to."""
