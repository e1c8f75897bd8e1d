"""Followers of the journal that write files: the recorder process and its loggers."""
