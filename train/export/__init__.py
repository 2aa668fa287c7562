"""A trained network in the forms that others take, as `topodistill export` writes it."""
