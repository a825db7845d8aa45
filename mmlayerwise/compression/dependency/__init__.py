"""Which channels go together, and taking them out."""
