"""The host's own FRR: its configuration."""
