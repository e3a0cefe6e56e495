"""The errors a person is meant to read."""


class SfumatoError(Exception):
    """One sentence that names the cause and the cure; interfaces show it without a traceback."""
