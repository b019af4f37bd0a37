"""Ask: one module per kind of probe, behind the small interface of `probes.outcome`."""
