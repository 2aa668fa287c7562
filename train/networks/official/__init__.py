"""Third-party checkpoints of PTv3 and LitePT: read, identified, loaded, and written back."""
