"""The exception for a mistake that a user can make: shown as one line, never as a traceback."""


class UserError(ValueError):
    """Say what is wrong, where, and what to do about it.

    The command line prints the message and exits with code 2. Library callers see an ordinary
    `ValueError`.
    """
