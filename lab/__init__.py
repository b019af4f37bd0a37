"""The laboratory: containerlab topologies, a driver that runs them, a traffic meter and faults."""
