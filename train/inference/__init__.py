"""A trained network on a user's own clouds."""
