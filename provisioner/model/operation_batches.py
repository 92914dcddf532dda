"""The operations of a plan, of which a first load has millions: kept by batches of people, and unpacked one by one.

An operation takes two kilobytes as a value and a tenth of that compressed. A plan about as many people as fit into one
batch is a plain tuple.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeAlias, overload

from msgspec import msgpack

from provisioner.model.operation import Operation

#: A batch at a time: what is about a person lies in one batch, in the order of delivery.
Batch: TypeAlias = Sequence[Operation]

_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(list[Operation]).decode
#: Quick rather than small: names and values repeat so much that any level will do.
_LEVEL = 1


def _unpacked(packed: bytes) -> Batch:
    return _decode(zlib.decompress(packed))


class Packed(Sequence[Operation]):
    """Operations of several batches, compressed. To go through them is cheap; to ask for one unpacks its batch."""

    __slots__ = ("_packed", "_sizes")

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._packed: list[bytes] = []
        self._sizes: list[int] = []
        for batch in batches:
            self._packed.append(zlib.compress(_encode(batch), _LEVEL))
            self._sizes.append(len(batch))

    def batches(self) -> Iterator[Batch]:
        """The batches, unpacked one after the other."""
        return map(_unpacked, self._packed)

    def __len__(self) -> int:
        return sum(self._sizes)

    def __iter__(self) -> Iterator[Operation]:
        for batch in self.batches():
            yield from batch

    @overload
    def __getitem__(self, place: int) -> Operation: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Operation]: ...
    def __getitem__(self, place: int | slice) -> Operation | Sequence[Operation]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        left = place + len(self) if place < 0 else place
        for packed, size in zip(self._packed, self._sizes, strict=True):
            if 0 <= left < size:
                return _unpacked(packed)[left]
            left -= size
        raise IndexError(place)


def gathered(batches: Iterable[Batch]) -> Sequence[Operation]:
    """The operations of all batches, each of which is taken when the one before it is packed away."""
    waiting = iter(batches)
    first, second = next(waiting, ()), next(waiting, None)
    return tuple(first) if second is None else Packed(chain((first, second), waiting))


def batches_of(operations: Sequence[Operation]) -> Iterator[Batch]:
    """The batches of what `gathered` gave."""
    return operations.batches() if isinstance(operations, Packed) else iter([operations])


def rewritten(operations: Sequence[Operation], change: Callable[[Batch], Batch]) -> Sequence[Operation]:
    """The operations with each batch changed."""
    return gathered(change(batch) for batch in batches_of(operations))
