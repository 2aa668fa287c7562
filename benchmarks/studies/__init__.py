"""What only publishes `docs/results`; no user needs it, and the wheel does not have it."""
