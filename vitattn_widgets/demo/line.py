"""A line of visitors for what runs one at a time: fair between them, and everybody knows their place."""

from __future__ import annotations

from asyncio import Event
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class Ticket:
    """A place in a line.

    Attributes:
        visitor: whose it is.
        changed: set when somebody in front has moved.
    """

    visitor: str
    changed: Event = field(default_factory=Event)


class Line:
    """Whoever was served least is next; among equals, whoever came first. For one event loop."""

    def __init__(self) -> None:
        self._waiting: list[Ticket] = []
        self._served: Counter[str] = Counter()  # of the visitors in the line
        self._running: Ticket | None = None

    def place(self, ticket: Ticket) -> int:
        """How many are served before a ticket, the one that is being served included."""
        order = sorted(self._waiting, key=self._turns().__getitem__)
        return order.index(ticket) + (self._running is not None) if ticket in order else 0

    def _turns(self) -> dict[Ticket, int]:
        """In which round each ticket is served: a visitor's second one after the first of all others."""
        rounds, turns = Counter(self._served), {}
        for ticket in self._waiting:
            turns[ticket] = rounds[ticket.visitor]
            rounds[ticket.visitor] += 1
        return turns

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[None]:
        """Wait for a ticket's turn, and have it."""
        if ticket.visitor not in self._served:  # whoever comes late does not overtake everybody for long
            running = self._running.visitor if self._running else None
            finished = [count - (visitor == running) for visitor, count in self._served.items()]
            self._served[ticket.visitor] = min(finished, default=0)
        self._waiting.append(ticket)
        try:
            while self.place(ticket) > 0:
                ticket.changed.clear()
                await ticket.changed.wait()
            self._waiting.remove(ticket)
            self._running = ticket
            self._served[ticket.visitor] += 1
            yield
        finally:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if self._running is ticket:
                self._running = None
            if not self._waiting:
                self._served.clear()
            for other in self._waiting:
                other.changed.set()
