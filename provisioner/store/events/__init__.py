"""Events that came in and webhooks that go out."""
