"""Sandboxes: the outside world of Kello on loopback, for the demo and for tests.

A payment gateway and an SMS provider (HTTP) and a mail server (SMTP) that do what good and bad providers do: they know
idempotency keys, decline, answer late, lose requests and replies, are down for a while, and tell afterwards what really
happened. Their wire protocols are written in `gateway`, `sms` and `mailbox`.

As a process, `python -m deploy.local.sandboxes --state DIR` prints one line of JSON when all three listen:

    {"gateway": "http://127.0.0.1:P", "sms": "http://127.0.0.1:P", "smtp_host": "127.0.0.1", "smtp_port": P,
     "mailbox": "http://127.0.0.1:P"}

In a test's own event loop:

    async with Sandboxes(state_dir) as sandboxes:
        sandboxes.gateway.url, sandboxes.sms.url, sandboxes.mailbox.smtp_port, sandboxes.mailbox.url
        sandboxes.gateway.script(Behaviour(lose_replies=1), reference="payslip-7")
        sandboxes.gateway.captures(), sandboxes.sms.messages(), sandboxes.mailbox.mails()

What happened is kept in the state directory, and a sandbox that starts there again goes on from it.
"""
