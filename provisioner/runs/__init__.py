"""The life of a run up to the queue: request, read, observe, plan, enqueue."""
