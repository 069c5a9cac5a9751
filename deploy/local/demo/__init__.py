"""The scripted month: the whole system at work, published to by ordinary producers, and the proof of what came of it.

people, customers, staff, malformed   what happens in the month, from a seed: the same seed is the same script
script                                all of it in the order in which it is published
producer, followers                   other teams' services: who publishes, and who reacts to what Kello says
month                                 runs the script: day by day, with a service killed in the middle
evidence, checks_*, proof             what the world outside says; with the audit, whether it all agrees
portrait                              a person to look at
"""
