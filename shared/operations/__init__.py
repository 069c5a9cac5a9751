"""What operators do: the command `kello`."""
