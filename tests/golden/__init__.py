"""Texts compared word by word with files; `pytest --update-golden` writes them."""
