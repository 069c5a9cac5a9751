"""The payment gateway: takes money from cards and pays salaries out, over HTTP, once per idempotency key.

    POST /payments
        Idempotency-Key: 1 to 255 visible ASCII characters, chosen by the client, the same over all its retries
        {"kind": "capture" | "payout", "amount": 1999, "currency": "EUR", "token": "tok_ok", "reference": "invoice-7"}
        amount: integer minor units, 1 to 10^15; token: 1 to 255 characters; reference: 1 to 255 characters

    GET /payments/by-key/{key}                  the key percent-encoded
    GET /payments?idempotency_key={key}         the same

A payment, as POST and GET answer it:

    {"id": "pay_000000000001", "state": "succeeded" | "declined" | "pending", "code": null | "card_declined" | …,
     "key": …, "kind": …, "amount": …, "currency": …, "token": …, "reference": …, "captured_at": RFC 3339 | null}

    POST answers                                                                     did money move?
    201  the payment, `succeeded`                                                    yes
    202  the payment, `pending`: ask by key                                          not known yet
    402  problem; `code` card_declined | insufficient_funds | …; `payment`           no, and never under this key
    409  problem `in_flight`: this key is being worked on; Retry-After               ask by key
    422  problem `idempotency_key_reused`: seen with another body                    not by this request
    400  problem `idempotency_key_missing` | `idempotency_key_invalid`               no
    422  problem `invalid_request`: the body is not a payment                        no
    429  problem `throttled`; Retry-After                                            no
    503  problem `unavailable`; Retry-After                                          no
    the connection closes without an answer                                          ask by key

    GET answers 200 with the payment in any of its three states (`pending` while a request is in flight), 404 problem
    `payment_not_found` when no request with that key was ever accepted: nothing moved, sending it again is right;
    503 when the gateway is down.

The same key with the same body answers what was answered before (201, 402, or 202 and later 201), with the header
`Idempotency-Replayed: true`. 400, 409, 422, 429 and 503 are not kept: the key is still free. Bodies are the same when
their JSON values are. Problems are `application/problem+json` (RFC 9457) with a `code` for programs.

How it behaves is scripted by token. A token behaves like the longest of these names that it is, or that it begins with
before a dash (`tok_declined-42` is declined); every other token succeeds.

    tok_ok                   succeeds
    tok_declined             402 card_declined
    tok_insufficient_funds   402 insufficient_funds
    tok_expired_card         402 expired_card
    tok_slow                 succeeds, answers after 2 s
    tok_lost_reply           succeeds, then closes the connection without an answer; the first time for a key
    tok_lost_request         closes the connection and forgets the request; the first time for a key
    tok_down                 503 two times for a key, then succeeds
    tok_throttled            429 with `Retry-After: 1` the first time for a key, then succeeds
    tok_pending              202; the first two questions about it answer `pending`, the third `succeeded`
    tok_pending_declined     202; the first two questions about it answer `pending`, the third `declined`
    tok_unknown              succeeds, loses the reply, and the first two questions answer `pending`
    tok_duplicate            the request arrives twice, as if the network had repeated it; one effect

For the demo, tests and audits (never for an adapter):

    GET    /admin/captures?reference=&token=&kind=&after=0&limit=1000      every effect, in order; limit at most 10,000
           {"captures": [{"n": 1, "id", "key", "kind", "amount", "currency", "token", "reference", "captured_at",
                          "requests": how many POSTs came with this key}], "next": n to go on after | null}
    GET    /admin/payments?…                                               the same for payments in every state
    GET    /admin/summary
           {"captures": 7, "declined": 1, "pending": 0, "requests": 9, "totals": {"capture": {"EUR": 1999}, "payout": {}},
            "references_captured_again": [references with more than one capture]}
    POST   /admin/script   {"token": … or "reference": …, any fields of `Behaviour`}     204; reference before token
    DELETE /admin/script                                                   204, every script is forgotten
    POST   /admin/outage   {"down": true | false}                          204; while down, payments answer 503
    POST   /admin/latency  {"seconds": 0.2}                                204; added to every POST and GET of payments
    GET    /healthz                                                        200 {"status": "ok"}
"""
