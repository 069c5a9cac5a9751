"""What Kello says: one module per publisher, the envelope, money, and the JSON Schemas that were published."""
