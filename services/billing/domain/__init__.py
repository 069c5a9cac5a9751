"""What billing knows: accounts, invoices, numbers, tax, payments and the ledger, as arithmetic on frozen values."""
