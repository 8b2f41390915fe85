"""`lithophone verify`: whether a model on this machine says what it should."""
