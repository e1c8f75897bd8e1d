"""Experiments on remote filesystems: staged in a local folder, from which they are uploaded."""
