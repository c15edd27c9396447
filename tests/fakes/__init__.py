"""A server that makes, on demand, the faults that no real one makes on demand."""
