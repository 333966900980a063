"""A WebSocket origin and a client of the `websockets` package, and one over HTTP/2 of the `h2` package.

    websocket.py origin
    websocket.py http1 PORT CERTIFICATE
    websocket.py http2 PORT CERTIFICATE
"""

import asyncio
import http
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

HOST = "www.example.com"

PAGE = """<!doctype html><title>chat</title><script>
const socket = new WebSocket(`wss://${location.host}/chat`);
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => fetch(`/heard?${event.data}`);
</script>"""


def answer(connection, request):
    """Everything but the WebSocket: a page that opens it, and what the page reports."""
    if request.path == "/chat":
        return None
    if request.path != "/health":
        print("asked for", request.path, flush=True)
    response = connection.respond(http.HTTPStatus.OK, PAGE)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "text/html"
    return response


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def origin():
    async with serve(echo, "127.0.0.1", 0, process_request=answer, max_size=None) as server:
        print("listening on", server.sockets[0].getsockname()[1], "now", flush=True)
        await server.serve_forever()


def trust(certificate, protocols):
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(protocols)
    return context


async def http1(port, certificate):
    context = trust(certificate, ["http/1.1"])
    url = f"wss://{HOST}:{port}/chat"
    async with connect(url, host="127.0.0.1", ssl=context, max_size=None) as connection:
        for message in ["hello", "", b"\0\xff" * 500_000, "ü" * 70_000]:
            await connection.send(message)
            assert await connection.recv() == message
        await (await connection.ping())
        await connection.close(code=4001, reason="enough")
        assert connection.close_code == 4001
    print("all is well")


class Http2:
    """One extended CONNECT on a connection of its own."""

    def __init__(self, port, certificate):
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.stream = trust(certificate, ["h2"]).wrap_socket(raw, server_hostname=HOST)
        assert self.stream.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.data = b""
        self.status = None
        self.settings = {}
        self.ended = False
        self.flush()

    def flush(self):
        self.stream.sendall(self.h2.data_to_send())

    def read(self):
        received = self.stream.recv(65536)
        assert received, "the edge has ended the connection"
        for event in self.h2.receive_data(received):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self.settings = event.changed_settings
            elif isinstance(event, h2.events.ResponseReceived):
                self.status = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                self.data += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended = True
        self.flush()

    def wait(self, condition):
        while not condition():
            self.read()


def masked(opcode, payload):
    """A frame of a client (RFC 6455 §5.2), with a mask of zeros."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def http2(port, certificate):
    client = Http2(port, certificate)
    announced = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
    client.wait(lambda: client.settings)
    assert client.settings[announced].new_value == 1, client.settings
    head = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", f"{HOST}:{port}"),
        ("sec-websocket-version", "13"),
    ]
    client.h2.send_headers(1, head)
    client.flush()
    client.wait(lambda: client.status)
    assert client.status == "200", client.status
    for number in range(100):
        client.h2.send_data(1, masked(1, b"hello %d" % number))
        client.flush()
    expected = b"".join(bytes([0x81, len(text)]) + text for text in (b"hello %d" % n for n in range(100)))
    client.wait(lambda: len(client.data) >= len(expected))
    assert client.data == expected, client.data
    client.h2.send_data(1, masked(8, (1000).to_bytes(2, "big")))
    client.flush()
    client.wait(lambda: client.ended)
    assert client.data[len(expected) :] == b"\x88\x02\x03\xe8"
    print("all is well")


if sys.argv[1] == "origin":
    asyncio.run(origin())
elif sys.argv[1] == "http1":
    asyncio.run(http1(int(sys.argv[2]), sys.argv[3]))
else:
    http2(int(sys.argv[2]), sys.argv[3])
