"""The commands: data on stdout, messages on stderr."""
