"""Pure: who is told what, by which way, and what becomes of it."""
