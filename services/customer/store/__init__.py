"""Every SQL statement of customer, set-based: one function each, by noun as in the domain.

parties    the roots, locked in one statement
profiles   customers, contact points, tags, consents
care       notes, interactions, feedback, tickets
history    copies of others' facts: timeline, balances, payments, salaries
rewards    loyalty and segments
tables     how each kind of row is written
views      what the read API answers with
"""
