"""What a user trains, and what a trial can call while it runs."""
