"""The way of GPUs: an own decoder of few kernels over pages of keys and values, and captured graphs of its steps."""
