"""What the four services share: what they say (schemas) and how they say it (messaging)."""
