"""Every SQL statement of payroll: set-based, one function each."""
