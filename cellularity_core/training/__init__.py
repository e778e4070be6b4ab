"""Training of every method: augmentation, losses, loop, recipes and commands."""
