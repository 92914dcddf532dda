"""Tables in which no word is broken: columns as wide as their longest word, and where that does not fit, no table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

#: What marks an empty cell.
_NOTHING: Final = ("", "·")
#: Characters up to which a cell goes on one line with others.
_SHORT: Final = 24
_INDENT: Final = "  "


class WholeWordsTable(Table):
    """A table that lists its rows one below the other where the console is too narrow for its words."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, or its rows as short paragraphs."""
        columns = [[_text(self_column.header), *map(_text, self_column.cells)] for self_column in self.columns]
        if not columns:
            return
        room = options.max_width - 2 * len(columns)
        widths = _widths(columns, room)
        if widths is None:
            yield from _paragraphs(columns, options.max_width)
            return
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def _widths(columns: Sequence[Sequence[Text]], room: int) -> list[int] | None:
    """A width for each column, none below its longest word; None if they do not fit."""
    least = [max((cell_len(word) for cell in cells for word in cell.plain.split()), default=1) for cells in columns]
    most = [max((cell_len(line) for cell in cells for line in cell.plain.split("\n")), default=1) for cells in columns]
    widths = [max(1, one) for one in least]
    spare = room - sum(widths)
    if spare < 0:
        return None
    # The spare goes evenly to those that want more
    wanting = [place for place, width in enumerate(widths) if width < most[place]]
    while spare > 0 and wanting:
        share = max(1, spare // len(wanting))
        for place in wanting:
            more = min(share, most[place] - widths[place], spare)
            widths[place] += more
            spare -= more
        wanting = [place for place in wanting if widths[place] < most[place]]
    return widths


def _paragraphs(columns: Sequence[Sequence[Text]], width: int) -> Iterator[Text]:
    """Each row as a headline, its short cells on one line, and its long ones each on lines of their own."""
    headers = [cells[0].plain.strip() for cells in columns]
    heads = 2 if not headers[0] and len(columns) > 2 else 1
    for row in zip(*(cells[1:] for cells in columns), strict=True):
        yield _wrapped(Text(" ").join(row[:heads]))
        short: list[Text] = []
        for header, cell in zip(headers[heads:], row[heads:], strict=True):
            if cell.plain.strip() in _NOTHING:
                continue
            named = Text(f"{header}: " if header else "") + cell
            if cell_len(cell.plain) <= _SHORT and "\n" not in cell.plain:
                short.append(named)
                continue
            yield from _indented(named, width)
        if short:
            yield from _indented(Text(", ").join(short), width)


def _indented(text: Text, width: int) -> Iterator[Text]:
    for part in text.split("\n"):
        rest: list[Text] = [Text("")]
        for word in part.split(" "):
            line = rest[-1]
            if line.plain and cell_len(line.plain) + 1 + cell_len(word.plain) > width - len(_INDENT):
                rest.append(word)
            else:
                rest[-1] = line + Text(" ") + word if line.plain else word
        yield from (_wrapped(Text(_INDENT) + line) for line in rest)


def _wrapped(text: Text) -> Text:
    """A line that the console neither breaks nor cuts."""
    return Text.assemble(text, no_wrap=True, overflow="ignore")
