"""How Kello is run: here on one machine from packages alone (`local`), elsewhere from images."""
