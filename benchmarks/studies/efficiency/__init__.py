"""What the networks cost: the page of a record of `python -m train.efficiency`."""
