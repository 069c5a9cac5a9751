"""The mail server: accepts mail by SMTP (RFC 5321), keeps every one, and shows them over HTTP.

No TLS and no login; SMTPUTF8, 8BITMIME and SIZE (32 MB) are offered. A mail that is accepted twice is kept twice, as a
mail server does: distinct Message-IDs against mails tells how often that happened.

How it behaves is scripted by the recipient's domain; every other recipient gets the mail.

    @bounce.example.com         550 5.1.1 at RCPT: no such mailbox
    @full.example.com           552 5.2.2 at RCPT: mailbox full
    @greylist.example.com       451 4.7.1 at RCPT the first time for an address, then accepted
    @busy.example.com           451 4.3.2 at RCPT every time
    @refused.example.com        554 5.7.1 after DATA: content refused
    @slow.example.com           the answer to DATA comes after 2 s
    @lost-reply.example.com     kept, then the connection closes without an answer to DATA; the first time for a Message-ID
    @lost-mail.example.com      the connection closes after DATA and the mail is forgotten; the first time for a Message-ID

While the server is down, open connections are cut and new ones get `421 4.3.2`.

Over HTTP, for the demo, tests and audits:

    GET    /admin/mails?to=&message_id=&after=0&limit=1000     in order of arrival; limit at most 10,000
           {"mails": [{"n": 1, "from", "to": [envelope recipients], "message_id", "subject", "size", "received_at"}],
            "next": n to go on after | null}
    GET    /admin/mails/{n}         the same, with "headers": [[name, value]], "text" and "html" (decoded, null if none)
    GET    /admin/mails/{n}/raw     message/rfc822, byte for byte as it arrived
    GET    /admin/summary           {"mails": 8, "message_ids": 7, "repeated": {message_id: times}, "refused": 1}
    POST   /admin/script            {"to": address, any fields of `MailBehaviour`}      204; address before domain
    DELETE /admin/script            204, every script is forgotten
    POST   /admin/outage            {"down": true | false}      204
    POST   /admin/latency           {"seconds": 0.2}            204; added to the answer to DATA
    GET    /healthz                 200 {"status": "ok"}
"""
