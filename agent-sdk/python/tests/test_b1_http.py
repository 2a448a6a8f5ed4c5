from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from openclaw import Agent, ConnectError, HttpError, HttpTimeout
from openclaw.tools import HttpClient
from web import Web, ok


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


async def test_http_is_there_without_setup_and_may_be_assigned(harness: Any) -> None:
    class Fetcher(Agent):
        async def run(self) -> list[Any]:
            first = await self.http.get("https://api.example/items?state!=closed", timeout=5)
            self.http = HttpClient(timeout=10, retries=2, retry_delay=3)
            second = await self.http.post(
                "https://api.example/items", json={"a": 1}, headers={"X": "y"}
            )
            third = await self.http.patch("https://api.example/items/1", json={"a": 2})
            await self.http.close()
            return [first.json(), second.status_code, second.text, third.ok]

    h = harness(Fetcher)
    h.http.get("https://api.example/items?state!=closed", json=[1, 2])
    h.http.post("https://api.example/items", status=201, text="made")
    h.http.patch("https://api.example/items/*", status=415)
    assert await h.run() == [[1, 2], 201, "made", False]
    assert h.http.requests[1].json == {"a": 1}
    assert h.http.requests[1].headers["x"] == "y"


async def test_a_response_has_status_json_text_headers_content_and_ok() -> None:
    body = '{"ü": 1}'.encode()
    async with Web(ok(body, headers="Content-Type: application/json\r\nX-A: b\r\n")) as web:
        client = HttpClient()
        response = await client.get(f"{web.url}/x")
        await client.close()
    assert (response.status_code, response.ok, response.content) == (200, True, body)
    assert response.text == '{"ü": 1}'
    assert response.json() == {"ü": 1}
    assert response.headers["content-TYPE"] == "application/json"
    assert response.headers.get("x-a") == "b"
    assert "X-A" in response.headers


async def test_a_status_that_is_no_success_does_not_raise() -> None:
    async with Web(ok(b"no", status="404 Not Found")) as web:
        client = HttpClient()
        response = await client.get(web.url)
        await client.close()
    assert (response.status_code, response.ok) == (404, False)
    with pytest.raises(HttpError, match="404"):
        response.raise_for_status()
    with pytest.raises(ValueError, match="Expecting value"):
        response.json()


async def test_the_query_is_sent_as_it_was_written() -> None:
    async with Web(ok()) as web:
        client = HttpClient()
        await client.get(f"{web.url}/q?filter=a!=b&x='1'&y=%2F|~#part", params={"z": "1 2"})
        await client.get(f"{web.url}?only=query")
        await client.get(f"{web.url}/a b/ü")
        await client.close()
    targets = [head.split(" ")[1] for head in web.heads]
    assert targets == ["/q?filter=a!=b&x='1'&y=%2F|~&z=1+2", "/?only=query", "/a%20b/%C3%BC"]


async def test_connections_are_kept_and_a_dead_one_is_replaced() -> None:
    async with Web(ok(b"1"), ok(b"2"), b"", ok(b"3")) as web:
        client = HttpClient()
        texts = [(await client.get(web.url)).text for _ in range(3)]
        await client.close()
    assert texts == ["1", "2", "3"]
    assert web.connections == 2


async def test_a_try_is_sent_once_more_when_its_kept_connection_dies_and_never_twice() -> None:
    waiting: list[None] = []
    all_there = asyncio.Event()

    async def together(_: str) -> bytes:
        waiting.append(None)
        if len(waiting) == 3:
            all_there.set()
        await all_there.wait()
        return ok()

    async with Web(together, together, together, b"", b"", ok()) as web:
        client = HttpClient()
        await asyncio.gather(*(client.get(web.url) for _ in range(3)))
        with pytest.raises(ConnectError):
            await client.get(web.url)
        await client.close()
    assert (len(web.heads), web.connections) == (5, 4)
    async with Web(ok(), b"", ok(status="503 No"), ok(status="503 No"), ok()) as web:
        client = HttpClient(retries=1, retry_delay=0)
        await client.get(web.url)
        response = await client.get(web.url)
        await client.close()
    # The second request: one try that was sent twice, and one retry.
    assert (response.status_code, len(web.heads), web.connections) == (503, 4, 2)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
async def test_what_changes_something_is_not_sent_again_within_a_try(method: str) -> None:
    async with Web(ok(), b"", ok()) as web:
        client = HttpClient()
        await client.get(web.url)
        with pytest.raises(ConnectError):
            await client.request(method, web.url)
        await client.close()
    assert len(web.heads) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_statuses_that_pass_are_tried_again(status: int) -> None:
    async with Web(ok(status=f"{status} Later"), ok(b"well")) as web:
        client = HttpClient(retries=2, retry_delay=0)
        assert (await client.get(web.url)).text == "well"
        await client.close()


async def test_the_last_answer_is_returned_when_all_tries_fail() -> None:
    async with Web(ok(b"1", status="503 No"), ok(b"2", status="503 No")) as web:
        client = HttpClient(retries=1, retry_delay=0)
        response = await client.get(web.url)
        await client.close()
    assert (response.status_code, response.text, len(web.heads)) == (503, "2", 2)


@pytest.mark.parametrize("method", ["post", "patch"])
async def test_what_must_not_be_repeated_is_not(method: str) -> None:
    async with Web(ok(status="503 No"), ok()) as web:
        client = HttpClient(retries=3, retry_delay=0)
        response = await getattr(client, method)(web.url, json={})
        await client.close()
    assert (response.status_code, len(web.heads)) == (503, 1)


async def test_other_statuses_are_not_tried_again() -> None:
    async with Web(ok(status="500 Oops"), ok()) as web:
        client = HttpClient(retries=3, retry_delay=0)
        assert (await client.get(web.url)).status_code == 500
        await client.close()
    assert len(web.heads) == 1


async def test_connect_errors_are_tried_again_and_then_raised() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        client = HttpClient(retries=2, retry_delay=0)
        with pytest.raises(ConnectError, match=f"GET http://127.0.0.1:{port}"):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_a_timeout_is_tried_again_and_is_a_timeout_error() -> None:
    never = asyncio.Event()

    async def silent(_: str) -> bytes:
        await never.wait()
        return b""

    async with Web(silent, ok(b"well")) as web:
        client = HttpClient(timeout=0.05, retries=1, retry_delay=0)
        assert (await client.get(web.url, timeout=0.3)).text == "well"
        await client.close()
    async with Web(silent) as web:
        with pytest.raises(TimeoutError) as caught:
            await client.get(web.url)
    assert isinstance(caught.value, HttpTimeout)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: t\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(gzip.compress(b"abcde", mtime=0)), gzip.compress(b"abcde", mtime=0)),
    ],
)
async def test_bodies_come_in_every_form(answer: bytes) -> None:
    async with Web(answer) as web:
        client = HttpClient()
        assert (await client.get(web.url)).text == "abcde"
        await client.close()


async def test_a_body_may_end_with_the_connection() -> None:
    async def once(_: str) -> bytes:
        return b"HTTP/1.0 200 OK\r\n\r\nabcde"

    async with Web(once, b"") as web:
        client = HttpClient()
        task = asyncio.ensure_future(client.get(web.url))
        while not web.heads:
            await asyncio.sleep(0)
        web._server.close()
        for serving in list(web._tasks):
            await asyncio.sleep(0.01)
            serving.cancel()
        assert (await task).text == "abcde"
        await client.close()


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
)
async def test_what_is_not_http_is_a_connect_error(answer: bytes) -> None:
    async with Web(answer) as web:
        with pytest.raises(ConnectError):
            await HttpClient().get(web.url)


async def test_redirects_are_followed_and_credentials_stay() -> None:
    async with Web(ok(b"there")) as other:
        moved = ok(status="302 Found", headers=f"Location: {other.url}/new\r\n")
        near = ok(status="301 Moved", headers="Location: /near\r\n")
        async with Web(near, moved) as web:
            client = HttpClient(headers={"Authorization": "Bearer x"})
            response = await client.get(f"{web.url}/old")
            stays = await HttpClient(follow_redirects=False).get(web.url)
            await client.close()
    assert (response.text, response.url) == ("there", f"{other.url}/new")
    assert stays.status_code == 302
    assert [head.split(" ")[1] for head in web.heads[:2]] == ["/old", "/near"]
    assert "authorization: Bearer x" in web.heads[1]
    assert "authorization" not in other.heads[0]


@pytest.mark.parametrize("url", ["ftp://x/", "example.org", "http://", "http://x:99999/"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(HttpError):
        await HttpClient().get(url)


async def test_a_line_break_in_a_header_is_refused() -> None:
    async with Web(ok()) as web:
        with pytest.raises(ValueError, match="line break"):
            await HttpClient().get(web.url, headers={"X": "a\r\nHost: b"})


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Web(ok(b"by proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "localhost,.internal")
        client = HttpClient()
        assert (await client.get("http://example.org/a?b!=c")).text == "by proxy"
        await client.close()
    assert proxy.heads[0].startswith("GET http://example.org/a?b!=c HTTP/1.1\r\nhost: example.org")


async def test_https_is_verified_with_the_standard_library(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj"]
        + ["/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no openssl to make a certificate with")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(b"secret"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    trusting = HttpClient(verify=ssl.create_default_context(cafile=str(certificate)))
    assert (await trusting.get(url)).text == "secret"
    with pytest.raises(ConnectError, match="certificate"):
        await HttpClient().get(url)
    await trusting.close()
    server.close()


async def test_patch_sends_plain_json_unless_the_headers_say_otherwise() -> None:
    async with Web(ok(), ok()) as web:
        client = HttpClient()
        await client.patch(web.url, json={"spec": {"replicas": 2}})
        merge = {"Content-Type": "application/merge-patch+json"}
        await client.patch(web.url, json={"spec": None}, headers=merge)
        await client.close()
    kinds = [
        line.partition(": ")[2]
        for head in web.heads
        for line in head.split("\r\n")
        if line.lower().startswith("content-type: ")
    ]
    assert kinds == ["application/json", "application/merge-patch+json"]
    assert web.bodies == [b'{"spec":{"replicas":2}}', b'{"spec":null}']
