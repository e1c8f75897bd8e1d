"""What a person sees of an experiment while it runs."""
