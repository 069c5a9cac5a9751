"""The harness: what a test needs to talk to Kello as another service would, on real Kafka and PostgreSQL."""
