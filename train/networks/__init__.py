"""Networks behind one protocol, their registry, and their weights in and out."""
