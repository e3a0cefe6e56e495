"""The command line: one file a command, each thin.

Nothing here imports torch before a command really needs it, so that `sfumato --help` answers
at once; heavy imports stand inside the functions.
"""
