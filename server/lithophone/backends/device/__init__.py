"""The device a model runs on: what there is (`facts`), what to do with it (`plan`), and doing it (`apply`)."""
