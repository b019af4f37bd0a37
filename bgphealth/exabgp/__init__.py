"""ExaBGP's process API: encode commands, decode replies, drive; and render its configuration."""
