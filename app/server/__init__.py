"""The process: where it starts, how it lives and ends, and one caller's connection."""
