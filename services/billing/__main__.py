"""`python -m services.billing` runs the service."""

from services.billing.app import main

main()
