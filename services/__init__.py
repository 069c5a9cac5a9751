"""The four services: customer, billing, notify and payroll. None imports another."""
