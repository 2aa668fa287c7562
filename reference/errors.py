"""What the definition and the fast path both raise."""


class NotConvergedError(RuntimeError):
    """The plan's column sums did not reach the tolerance."""
