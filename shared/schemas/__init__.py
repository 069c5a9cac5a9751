"""What Kello says: one module per publisher, the envelope, money, and the JSON Schemas that were published.

To say something new, declare a class in the module of whoever publishes it (`registry.PUBLISHERS`), record a payload in
published/samples and run `python -m shared.schemas.publish`. What was published is frozen: a field may be added with a
default; a change that breaks somebody is a class of its own, `….v2`, with a `registry.upcaster` from the old one, which
stays.
"""
