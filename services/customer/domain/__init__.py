"""What customer knows and decides, by noun. Frozen values in, decisions out; no clock, no id, no I/O.

party      who may be meant by a key: a customer, an employee, or somebody not known yet
customer   a customer with contact points, tags and consents: what customer.profiles publishes
profile    every change of that
care       notes, interactions and feedback
tickets    open -> resolved -> closed, and back to open
salaries   whether employees got their salary, and the ticket when they did not
history    the timeline of others' facts, balances, and what was paid in each currency
loyalty    points from payments
segments   rules as data, and who fits them
"""
