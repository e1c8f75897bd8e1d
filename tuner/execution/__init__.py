"""Where trials run: executors, the worker program and its protocol."""
