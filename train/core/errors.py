"""The exception for a mistake that a user can make: shown as one line, never as a traceback."""


class UserError(Exception):
    """Say what is wrong, where, and what to do about it.

    The command line prints the message and exits with code 2. Not a `ValueError`: the flag parser
    takes those for its own, and callers should be able to tell a bad file from a bug.
    """


class ClassCountError(UserError, ValueError):
    """Say that a checkpoint's classes are not those that the caller wants.

    A mistake of the user's on the command line, and a wrong argument to those who call the reader.
    """
