"""The type of our Redis clients.

redis-py's own annotations cover clients that decode answers and clients that do not in one union, so that every answer
would have to be narrowed by hand. Ours never decode: answers are bytes, and each store turns them into typed values
in the line that reads them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Redis: TypeAlias = Any
