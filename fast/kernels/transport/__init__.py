"""Which point of a diagram goes to which of another."""
