"""What another web site could have a reader's browser send is refused by the running app."""

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

pytestmark = pytest.mark.e2e

EVIL = "http://evil.example"
UPLOAD = "/_stcore/upload_file/some-session/some-file"
COOKIE, TOKEN = "_streamlit_xsrf", "X-Xsrftoken"
FORGED = f"2|00000000|{'0' * 32}|1"


@pytest.fixture(scope="module")
def token(app_server: str) -> str:
    """What the app gives a browser that opens it."""
    return httpx.get(f"{app_server}/_stcore/health").cookies[COOKIE]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("sent", ["nothing", "cookie", "header", "cookie and forged header"])
def test_an_upload_without_the_token_is_refused(
    app_server: str, token: str, method: str, sent: str
) -> None:
    headers = {"Cookie": f"{COOKIE}={token}"} if "cookie" in sent else {}  # sent whoever asks
    if "header" in sent:
        headers[TOKEN] = token if sent == "header" else FORGED
    reply = httpx.request(method, app_server + UPLOAD, headers=headers)
    assert reply.status_code == 403


def test_with_the_token_only_the_session_is_wrong(app_server: str, token: str) -> None:
    """So that it is the token for which the others were refused."""
    headers = {"Cookie": f"{COOKIE}={token}", TOKEN: token}
    reply = httpx.put(app_server + UPLOAD, headers=headers)
    assert (reply.status_code, "Invalid session_id" in reply.text) == (400, True)


@pytest.mark.parametrize("path", [UPLOAD, "/_stcore/health", "/_stcore/host-config", "/"])
def test_a_browser_is_told_to_keep_answers_from_other_sites(app_server: str, path: str) -> None:
    asked = {"Origin": EVIL, "Access-Control-Request-Method": "PUT"}
    for method in ("OPTIONS", "GET"):
        reply = httpx.request(method, app_server + path, headers=asked)
        assert reply.headers.get("Access-Control-Allow-Origin") not in ("*", EVIL)


def test_no_other_site_may_steer_the_app_in_a_frame(app_server: str) -> None:
    assert httpx.get(f"{app_server}/_stcore/host-config").json()["allowedOrigins"] == []


def test_a_connection_from_another_site_is_refused(app_server: str) -> None:
    stream = app_server.replace("http", "ws", 1) + "/_stcore/stream"
    speaks = [Subprotocol("streamlit")]
    with pytest.raises(InvalidStatus) as refused:
        connect(stream, origin=Origin(EVIL), subprotocols=speaks)
    assert refused.value.response.status_code == 403
    with connect(stream, origin=Origin(app_server), subprotocols=speaks) as own:
        assert own.subprotocol == "streamlit"
