"""The SMS provider: sends text messages over HTTP, once per idempotency key.

    POST /messages
        Idempotency-Key: 1 to 255 visible ASCII characters, the same over all retries of one message
        {"to": "+4915112345678", "text": "Your invoice is ready"}     to: E.164; text: 1 to 1,600 characters

    GET /messages/by-key/{key}                  the key percent-encoded
    GET /messages?idempotency_key={key}         the same

A message, as POST and GET answer it:

    {"id": "sms_000000000001", "state": "accepted" | "rejected" | "pending", "code": null | "invalid_destination" | …,
     "key": …, "to": …, "text": …, "accepted_at": RFC 3339 | null}

    POST answers                                                                     was it sent?
    201  the message, `accepted`                                                     yes
    202  the message, `pending`: ask by key                                          not known yet
    400  problem `invalid_destination` | `opted_out`; `message`                      no, and never under this key
    400  problem `idempotency_key_missing` | `idempotency_key_invalid`               no
    409  problem `in_flight`; Retry-After                                            ask by key
    422  problem `idempotency_key_reused` | `invalid_request`                        not by this request
    429  problem `throttled`; Retry-After (seconds)                                  no
    503  problem `unavailable`; Retry-After                                          no
    the connection closes without an answer                                          ask by key

    GET answers 200 with the message, 404 problem `message_not_found` when no request with that key was ever accepted.

Keys, replays and problems are as in `gateway`. How it behaves is scripted by the last four digits of the number; every
other number is reached.

    …0000   400 invalid_destination
    …0001   accepted, then the connection closes without an answer; the first time for a key
    …0002   the connection closes and the request is forgotten; the first time for a key
    …0003   429 with `Retry-After: 1` the first time for a key
    …0004   503 two times for a key
    …0005   answers after 2 s
    …0006   400 opted_out

For the demo, tests and audits (never for an adapter):

    GET    /admin/messages?to=&after=0&limit=1000       every message that was sent, in order; limit at most 10,000
           {"messages": [{"n": 1, "id", "key", "to", "text", "accepted_at", "requests"}], "next": n | null}
    GET    /admin/summary           {"messages": 7, "rejected": 1, "pending": 0, "requests": 9}
    POST   /admin/script            {"to": …, any fields of `Behaviour`}            204
    DELETE /admin/script, POST /admin/outage, POST /admin/latency, GET /healthz     as in `gateway`
"""
