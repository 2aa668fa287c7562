"""Training: the step, the loop, what a run keeps on disk, and its stages in order."""
