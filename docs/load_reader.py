"""A person at a browser tab of the app, for `load.py`."""

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from load_browser import Answer, PageError, Tab, text_of
from load_material import Patches, cards_on
from websockets.exceptions import WebSocketException

LOOK: Final = (6.0, 12.0)
"""Seconds, from and to, that a reader looks at a patch and its scores."""

MOVE: Final = (1.0, 2.0)
"""Seconds between two movements of the slider."""

MOVES: Final = 3

READ: Final = (4.0, 8.0)
"""Seconds that a reader looks at a case of the study before committing a score."""

READS: Final = 4
"""Cases read between two uploads."""

HELD: Final = 3
"""Patches that a reader takes in before clearing them all."""

ROUND: Final = sum(LOOK) / 2 + (MOVES * sum(MOVE) + READS * sum(READ)) / 2
"""Seconds that all of it takes a reader, without the app's own."""

COMMIT: Final = "commit a read"


@dataclass(slots=True)
class Log:
    """What the browsers saw together."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    places: list[int] = field(default_factory=list)
    """For each upload, how many others were at most said to be before it."""
    reads: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By reader, scores of the study that the page said were saved, in order."""
    own: dict[str, list[tuple[str, float]]] = field(default_factory=lambda: defaultdict(list))
    """By reader, checksums of patches and the scores kept on Analyse, in order."""

    def took(self, what: str, answer: Answer) -> None:
        """Note how long an action took."""
        self.seconds[what].append(answer.seconds)


@dataclass(slots=True)
class Reader:
    """A person at a browser."""

    name: str
    tab: Tab
    files: Patches
    log: Log
    end: float
    pace: float
    rng: random.Random
    held: int = 0

    async def work(self) -> None:
        """Go on until the time is over or something is wrong.

        Then the patch at hand is scored and one case read: once through in any case.
        """
        try:
            self.log.took("open the app", await self.tab.open(reader=self.name))
            begun = False
            while not (begun and self.is_over):
                begun = True
                await self.analyse()
                self.log.took("go to Read", await self.tab.go("read"))
                for number in range(READS):
                    await self.pause(READ)
                    if (number and self.is_over) or not await self.read():
                        break
                self.log.took("go to Analyse", await self.tab.go(""))
        except (PageError, WebSocketException, httpx.HTTPError, OSError) as error:
            self.log.errors[f"{self.name}: {type(error).__name__}: {error}"] += 1
        finally:
            await self.tab.close()

    @property
    def is_over(self) -> bool:
        """Whether it is time to stop."""
        return time.monotonic() >= self.end

    async def pause(self, between: tuple[float, float]) -> None:
        """Do nothing for a while, as a person does.

        In full even when the time is over: cut short, all readers would click at once.
        """
        await asyncio.sleep(self.rng.uniform(*between) * self.pace)

    async def analyse(self) -> None:
        """Upload a patch, look at its scores, and keep a score of one's own."""
        if self.held == HELD:
            self.log.took("clear all", await self.tab.click("analyse.clear"))
            self.held = 0
        name, data, sha256, expected = self.files.take()
        dropped = await self.tab.drop("analyse.upload.", name, data)
        self.log.took("upload to scores", dropped)
        self.log.places.append(dropped.waited)
        for _ in range(1 if self.held else 0):
            self.log.took("next patch", await self.tab.click("analyse.next"))
        self.held += 1
        seen = [found for text in self.tab.words() if (found := cards_on(text))]
        if seen != [expected]:
            self.log.errors[f"{name} shows {seen}; scored alone it is {expected}"] += 1
        await self.pause(LOOK)
        value = 0
        for _ in range(MOVES):
            value = self.rng.randint(0, 100)
            self.log.took("move the slider", await self.tab.slide("analyse.own.slider.", value))
            await self.pause(MOVE)
        kept = await self.tab.click("analyse.commit", lambda e: 'data-method="own"' in text_of(e))
        self.log.took("keep own score", kept)
        self.log.own[self.name].append((sha256, value / 100))

    async def read(self) -> bool:
        """Commit a score of the case on the desk; whether there was one."""
        if not self.tab.has("read.desk"):
            return False
        task = json.loads(self.tab.widget("read.desk").json)
        value = self.rng.randint(0, 100)
        given = {name: task[name] for name in ("token", "assignment", "phase", "mode")}
        given |= {"value": value, "reason": None, "confidence": 3, "seconds": 5.0}

        def is_saved(element: Any) -> bool:
            if element.WhichOneof("type") != "bidi_component":
                return "You have read every case" in text_of(element)
            new = json.loads(element.bidi_component.json)
            if new["error"]:
                raise PageError(f"the desk says: {new['error']}")
            return bool(new["token"] != task["token"] and new["saved"])

        self.log.took(COMMIT, await self.tab.trigger("read.desk", "commit", given, is_saved))
        self.log.reads[self.name].append(value / 100)
        return True
