"""How a transcript is written: documents, subtitles, plain text and stream events. Pure; knows no HTTP, file or model."""
