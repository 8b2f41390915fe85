"""How a transcript is written: documents, subtitles, tables, plain text and stream events. Pure; knows no HTTP, file or model."""
