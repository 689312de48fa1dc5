"""Request fidelity of the data plane: every attempt is an event."""
