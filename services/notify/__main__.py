"""python -m services.notify"""

from services.notify.app import main

main()
