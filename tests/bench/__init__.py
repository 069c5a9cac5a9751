"""How fast Kello is, beside the limit and its peers: one command, one machine, one table. `make bench`."""
