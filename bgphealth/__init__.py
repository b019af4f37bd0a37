"""bgphealth: one verdict per path steers what a dual-homed server announces and where it sends."""
