"""The one error this package raises for data that cannot be used."""


class DataError(ValueError):
    """Data that cannot be used, and what the user can do about it.

    The message says what was wrong, what was expected, what was received
    and what to do, so that a command line can show it without a traceback.
    """
