"""Plays what was recorded, or what a person wrote, through the engine. No I/O but files."""
