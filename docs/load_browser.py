"""A browser tab without a screen: what it sends to a Streamlit app and what it gets back.

It speaks the same protocol as the real one (protocol buffers over a websocket, uploads by
HTTP with the token against forged requests), so that the app runs its pages for it as for
anybody; it draws nothing, so that many fit on one machine.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

PATIENCE: Final = 120.0
"""Seconds after which a page that has not answered counts as hanging."""

KEPT_RUNS: Final = 2
"""Runs of a page for which a large message that comes again is kept, as a browser does."""

XSRF: Final = "_streamlit_xsrf"


class PageError(Exception):
    """The page showed an error, or did not answer."""


@dataclass(slots=True)
class Answer:
    """How long a page took.

    Attributes
    ----------
    seconds : float
        From the click to the message that was looked for; else to the end of the run.
    waited : int
        The most others that were said to be before this one at the models; 0: none.
    """

    seconds: float
    waited: int = 0


@dataclass(slots=True)
class Tab:
    """One tab with the app open in it."""

    url: str
    tree: dict[tuple[int, ...], Any] = field(default_factory=dict)
    """Elements now on the page, by their place."""
    _fragments: dict[tuple[int, ...], str] = field(default_factory=dict)
    """By place, the part of the page that runs by itself and has drawn there; "" for none."""
    _running: set[str] = field(default_factory=set)
    """Of these parts, those that run now; none of them where the whole page runs."""
    _states: dict[str, WidgetState] = field(default_factory=dict)
    _pages: dict[str, str] = field(default_factory=dict)
    _page: str = ""
    _query: str = ""
    _session: str = ""
    _large: dict[str, tuple[int, ForwardMsg]] = field(default_factory=dict)
    _runs: int = 0
    _fresh: set[tuple[int, ...]] = field(default_factory=set)
    _socket: ClientConnection | None = None
    _http: httpx.AsyncClient | None = None

    async def open(self, path: str = "", **query: str) -> Answer:
        """Load the app as by typing its address."""
        # A connection for each request: one that is kept may be closed by the server while a
        # request is on its way, which a browser would send again.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.AsyncClient(base_url=self.url, timeout=PATIENCE, limits=limits)
        for asked in ("/", "/_stcore/health", "/_stcore/host-config"):
            (await self._http.get(asked)).raise_for_status()
        self._query = urlencode(query)
        token = self._http.cookies[XSRF]
        address = urlsplit(self.url)
        self._socket = await connect(
            f"ws://{address.netloc}/_stcore/stream",
            origin=self.url,  # type: ignore[arg-type]
            subprotocols=["streamlit", token],  # type: ignore[list-item]
            additional_headers={"Cookie": f"{XSRF}={token}"},
            max_size=None,
        )
        return await self._run(page_name=path)

    async def close(self) -> None:
        """Close the tab."""
        if self._socket is not None:
            await self._socket.close()
        if self._http is not None:
            await self._http.aclose()

    async def go(self, page: str) -> Answer:
        """Open another page of the app from its menu."""
        self._states.clear()
        self._page = self._pages[page]
        return await self._run()

    async def click(self, key: str, until: Callable[[Any], bool] | None = None) -> Answer:
        """Press the button with this key."""
        pressed = WidgetState(id=self.widget(key).id, trigger_value=True)
        return await self._run(pressed, fragment=self._fragment(key), until=until)

    async def slide(self, key: str, value: float) -> Answer:
        """Move a slider."""
        state = WidgetState(id=self.widget(key).id)
        state.double_array_value.data.append(value)
        self._states[state.id] = state
        return await self._run(fragment=self._fragment(key))

    async def trigger(
        self, key: str, event: str, value: object, until: Callable[[Any], bool]
    ) -> Answer:
        """Let a component of the page report an event."""
        name = f"$$STREAMLIT_INTERNAL_KEY_{self.widget(key).id}__events"
        sent = json.dumps([{"event": event, "value": value}])
        return await self._run(WidgetState(id=name, json_trigger_value=sent), until=until)

    async def drop(
        self, key: str, name: str, data: bytes, until: Callable[[Any], bool] | None = None
    ) -> Answer:
        """Drop a file into a box."""
        began = time.perf_counter()
        box = self.widget(key)
        request = BackMsg()
        request.file_urls_request.request_id = name
        request.file_urls_request.session_id = self._session
        request.file_urls_request.file_names.append(name)
        await self._send(request)
        while True:
            message = await self._next()
            if message.WhichOneof("type") == "file_urls_response":
                break
        [place] = message.file_urls_response.file_urls
        assert self._http is not None
        reply = await self._http.put(
            place.upload_url,
            files={name: (name, data, "image/png")},
            headers={"X-Xsrftoken": self._http.cookies[XSRF]},
        )
        if reply.is_error:
            raise PageError(f"the upload of {name} was refused ({reply.status_code})")
        state = WidgetState(id=box.id)
        info = state.file_uploader_state_value.uploaded_file_info.add()
        info.name, info.size, info.file_id = name, len(data), place.file_id
        info.file_urls.CopyFrom(place)
        self._states[state.id] = state
        answer = await self._run(until=until)
        return Answer(time.perf_counter() - began, answer.waited)

    def widget(self, key: str) -> Any:
        """The widget or component with a key that begins so.

        Raises
        ------
        PageError
            If the page has none, with the first words it has.
        """
        element = self.tree[self._place(key)]
        return getattr(element, element.WhichOneof("type"))

    def has(self, key: str) -> bool:
        """Whether there is a widget or component with a key that begins so."""
        return any(key_of(element).startswith(key) for element in self.tree.values())

    def words(self) -> list[str]:
        """Texts on the page, from top to bottom."""
        return [text for _, element in sorted(self.tree.items()) if (text := text_of(element))]

    def _place(self, key: str) -> tuple[int, ...]:
        for path, element in self.tree.items():
            if key_of(element).startswith(key):
                return path
        words = " / ".join(self.words())[:300]
        raise PageError(f"the page has no {key}; it says: {words}")

    def _fragment(self, key: str) -> str:
        return self._fragments[self._place(key)]

    async def _run(
        self,
        *once: WidgetState,
        page_name: str = "",
        fragment: str = "",
        until: Callable[[Any], bool] | None = None,
    ) -> Answer:
        """Have the server run the page, and take in what it sends until it has finished."""
        message = BackMsg()
        asked = message.rerun_script
        asked.query_string, asked.page_script_hash = self._query, self._page
        asked.page_name, asked.fragment_id = page_name, fragment
        asked.widget_states.widgets.extend([*self._states.values(), *once])
        asked.cached_message_hashes.extend(self._large)
        asked.context_info.url = self.url
        asked.context_info.timezone, asked.context_info.locale = "UTC", "en-GB"
        began = time.perf_counter()
        answer = Answer(0.0)
        self._fresh = set()
        await self._send(message)
        while True:
            got = await self._next()
            kind = got.WhichOneof("type")
            if kind == "delta":
                for element in self._take(got):
                    answer.waited = max(answer.waited, before(element))
                    if until is not None and not answer.seconds and until(element):
                        answer.seconds = time.perf_counter() - began
            elif kind == "script_finished":
                end = ForwardMsg.ScriptFinishedStatus.Name(got.script_finished)
                if end in ("FINISHED_SUCCESSFULLY", "FINISHED_FRAGMENT_RUN_SUCCESSFULLY"):
                    break
                if end != "FINISHED_EARLY_FOR_RERUN":
                    raise PageError(f"the page ended with {end}")
        self._forget()
        if until is not None and not answer.seconds:
            words = " / ".join(self.words())[:300]
            raise PageError(f"what was looked for did not come; the page says: {words}")
        answer.seconds = answer.seconds or time.perf_counter() - began
        return answer

    async def _send(self, message: BackMsg) -> None:
        assert self._socket is not None
        await self._socket.send(message.SerializeToString())

    async def _next(self) -> ForwardMsg:
        """The next message; what is the same for every run is taken in."""
        assert self._socket is not None
        try:
            data = await asyncio.wait_for(self._socket.recv(), PATIENCE)
        except TimeoutError:
            raise PageError(f"the page did not answer for {PATIENCE:.0f} s") from None
        message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            known = ForwardMsg()
            known.CopyFrom(self._large[message.ref_hash][1])
            known.metadata.CopyFrom(message.metadata)
            self._large[message.ref_hash] = (self._runs, known)
            return known
        if message.metadata.cacheable:
            self._large[message.hash] = (self._runs, message)
        if kind == "new_session":
            self._session = message.new_session.initialize.session_id
            self._page = message.new_session.page_script_hash
            self._fresh, self._running = set(), set(message.metadata.run.fragment_ids)
        elif kind == "navigation":
            self._pages = {p.url_pathname: p.page_script_hash for p in message.navigation.app_pages}
            self._page = message.navigation.page_script_hash
        elif kind in ("page_not_found", "session_event"):
            raise PageError(f"the server sent {kind}")
        return message

    def _take(self, message: ForwardMsg) -> Iterator[Any]:
        """Put an element in its place on the page."""
        path = tuple(message.metadata.delta_path)
        kind = message.delta.WhichOneof("type")
        self._fresh.add(path)
        if kind == "new_transient":
            yield from message.delta.new_transient.elements
            return
        if kind == "add_block":
            self.tree.pop(path, None)
            return
        element = message.delta.new_element
        for below in [p for p in self.tree if p[: len(path)] == path and p != path]:
            del self.tree[below]
        self.tree[path] = element
        self._fragments[path] = message.delta.fragment_id
        self._follow(element)
        if fault := fault_of(element):
            raise PageError(fault)
        yield element

    def _follow(self, element: Any) -> None:
        """A widget whose value the server sets has that value from now on."""
        name = element.WhichOneof("type")
        widget = getattr(element, name)
        if not getattr(widget, "set_value", False):
            return
        state = WidgetState(id=widget.id)
        if name == "slider":
            state.double_array_value.data.extend(widget.value)
        elif name == "number_input":
            state.double_value = widget.value
        else:
            return
        self._states[widget.id] = state

    def _forget(self) -> None:
        """Drop what the run that has ended did not draw again, as a browser does."""
        running, known = self._running, self._fragments
        stays = {p for p in self.tree if p in self._fresh or (running and known[p] not in running)}
        self.tree = {path: element for path, element in self.tree.items() if path in stays}
        here = {getattr(getattr(e, e.WhichOneof("type")), "id", "") for e in self.tree.values()}
        self._states = {name: state for name, state in self._states.items() if name in here}
        self._runs += 1
        self._large = {
            h: kept for h, kept in self._large.items() if kept[0] + KEPT_RUNS >= self._runs
        }


def key_of(element: Any) -> str:
    """The key that the app gave a widget; "" for what has none."""
    name = str(getattr(getattr(element, element.WhichOneof("type")), "id", ""))
    return name.split("-", 2)[2] if name.startswith("$$ID-") else ""


def text_of(element: Any) -> str:
    """What an element says; "" where it is no text."""
    inside = getattr(element, element.WhichOneof("type"))
    return str(getattr(inside, "body", ""))


def before(element: Any) -> int:
    """How many others the page says are before this one at the models."""
    text = text_of(element)
    if 'class="waiting"' not in text:
        return 0
    return next((int(word) for word in text.split() if word.isdigit()), 1)


def fault_of(element: Any) -> str:
    """The error that an element shows; "" for none."""
    kind = element.WhichOneof("type")
    if kind == "exception":
        return f"exception: {element.exception.type} {element.exception.message}"
    if kind == "alert" and element.alert.format == Alert.Format.ERROR:
        return f"error: {element.alert.body}"
    return ""
