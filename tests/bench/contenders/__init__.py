"""Programs that do the work of billing, each its own small one: purchases in, invoices kept, InvoiceIssued out.

Each is written as its library's documentation says, states what it guarantees, and runs until SIGTERM as
`python -m tests.bench.contenders.<name>`. What is the same for all (the arithmetic, the tables) is in `work`.
"""
