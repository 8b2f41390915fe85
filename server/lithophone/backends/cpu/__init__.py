"""What only processors need: other ways to multiply, 16-bit weights widened as they are used, weights in 8 bits."""
