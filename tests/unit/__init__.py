"""One module at a time, without the network."""
