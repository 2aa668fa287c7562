"""The drivers: a whole cloud, or a batch, from distances or points to pairs."""
