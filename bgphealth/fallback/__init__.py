"""The one room that writes to the kernel: tables and rules over netlink, with our own protocol."""
