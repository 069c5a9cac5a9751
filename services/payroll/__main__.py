"""`python -m services.payroll` runs the service."""

from services.payroll.app import main

main()
