"""One module per source: its facts, its index, and how to read a record where the default does not fit."""
