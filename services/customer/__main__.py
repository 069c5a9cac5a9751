"""`python -m services.customer`"""

from services.customer.app import main

main()
