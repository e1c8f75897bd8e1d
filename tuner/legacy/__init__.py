"""The older APIs of Ray Tune (0.5 and 0.8), as thin translations onto `Tuner`."""
