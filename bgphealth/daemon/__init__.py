"""The running program: wires the rooms together and says what happens."""
