"""`lithophone-client listen`: captions of what is being said. Needs `lithophone-client[listen]`."""
