"""What Granite Speech is, whoever runs it: the family, its prompts, features, labels and output."""
