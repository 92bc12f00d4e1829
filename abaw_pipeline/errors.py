"""The one exception that a user sees as a message instead of a traceback."""


class InputError(ValueError):
    """Something the user gave is wrong. The message names the file, the row where there is one, and the remedy."""
