"""Third-party products, one file each; imported as `tuner.integrations`."""
