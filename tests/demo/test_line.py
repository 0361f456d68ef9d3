"""The line of checks: who is next, what those who wait are told, and what a check costs."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vitattn_widgets.demo import service as service_module
from vitattn_widgets.demo.line import Line, Ticket

from .lab import check_events, running_page


def served(tickets: list[str], late: dict[int, list[str]] | None = None) -> list[str]:
    """The order in which a line serves the tickets of visitors; `late` ones come after so many were served."""

    async def main() -> list[str]:
        line, order, tasks = Line(), [], []
        places: list[int] = []

        async def one(visitor: str) -> None:
            ticket = Ticket(visitor)
            async with line.turn(ticket):
                order.append(visitor)
                assert line.place(ticket) == 0
                for other in (late or {}).pop(len(order), []):
                    tasks.append(asyncio.ensure_future(one(other)))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                places.append(len(line._waiting))

        tasks += [asyncio.ensure_future(one(visitor)) for visitor in tickets]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
        for task in tasks:
            task.result()
        assert (line._waiting, line._running, line._served) == ([], None, {})
        return order

    return asyncio.run(main())


def test_nobodys_second_check_comes_before_anybodys_first() -> None:
    assert served(["a", "a", "a", "b", "c", "b"]) == ["a", "b", "c", "a", "b", "a"]
    assert served(["a", "a", "a"], {1: ["b"]}) == ["a", "b", "a", "a"]
    assert served([str(number) for number in range(30)]) == [str(number) for number in range(30)]


def test_a_place_is_how_many_are_before_and_who_leaves_is_not_counted() -> None:
    async def main() -> None:
        line, go = Line(), asyncio.Event()
        tickets = [Ticket(visitor) for visitor in "abcd"]

        async def one(ticket: Ticket) -> None:
            async with line.turn(ticket):
                await go.wait()

        tasks = [asyncio.ensure_future(one(ticket)) for ticket in tickets]
        await asyncio.sleep(0.01)
        assert [line.place(ticket) for ticket in tickets] == [0, 1, 2, 3]
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        assert [line.place(ticket) for ticket in tickets] == [0, 0, 1, 2]
        go.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def test_a_check_says_its_place_until_its_result(wide_model, tmp_path: Path, monkeypatch) -> None:
    def slow(*_: object) -> dict:
        time.sleep(0.5)
        return {"verdict": "fine"}

    monkeypatch.setattr(service_module.DemoService, "check", slow)
    subject = {"model": wide_model.name, "sample": "coffee", "settings": {}}
    with running_page(wide_model, tmp_path / "gradio") as (address, _), ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda visitor: check_events(address, subject | {"visitor": visitor}), "abcd"))
        assert all(one[-1] == {"result": {"verdict": "fine"}} for one in told)
        places = sorted([event["place"] for event in one[:-1]] for one in told)
        assert [one[0] for one in places] == [0, 1, 2, 3]
        assert all(one == sorted(one, reverse=True) and one[-1] == 0 for one in places)
        detail = check_events(address, subject | {"model": "none"})[-1]["detail"]
        assert "there is no model 'none' here" in detail
