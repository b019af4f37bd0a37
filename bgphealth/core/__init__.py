"""Pure decisions: no I/O, no clock, no logging. One door: `bgphealth.core.engine.step`."""
