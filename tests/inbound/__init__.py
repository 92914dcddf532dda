"""Events from outside: taken, kept, acted on, routed."""
