"""The decoding loop: encoder, language model and drafts over batches that are packed, never padded."""
