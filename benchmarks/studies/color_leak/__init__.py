"""What the colors of simulated images tell of classes."""
