"""The paper's figures, each made from our own code, with the numbers that it shows beside it."""
