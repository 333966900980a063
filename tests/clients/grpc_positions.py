"""A gRPC store that says where writes are in its trailing metadata, and a client that carries the token.

    grpc_positions.py origin
    grpc_positions.py client PORT OTHER_PORT CERTIFICATE
"""

import sys
from concurrent import futures

import grpc

HOST = "api.example.com"


def of(metadata, name):
    return dict(metadata).get(name)


def put(request, context):
    context.set_trailing_metadata((("meridian-committed", "far=5"), ("x-sum", "1")))
    return b"far"


def get(request, context):
    """Says what it was asked to show."""
    required = of(context.invocation_metadata(), "meridian-require") or "nothing"
    return b"far has to show " + required.encode()


def origin():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    methods = {
        "Put": grpc.unary_unary_rpc_method_handler(put),
        "Get": grpc.unary_unary_rpc_method_handler(get),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("kv.Store", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("listening on", port, "now", flush=True)
    server.wait_for_termination()


def call(channel, method, token=None):
    """The answer, the token after it, and the trailing metadata."""
    metadata = [("meridian-token", token)] if token else []
    answer, whole = channel.unary_unary(f"/kv.Store/{method}").with_call(b"", timeout=20, metadata=metadata)
    return answer, of(whole.initial_metadata(), "meridian-token"), dict(whole.trailing_metadata())


def client(port, other, certificate):
    with open(certificate, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = (("grpc.ssl_target_name_override", HOST), ("grpc.default_authority", HOST))
    channels = [grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) for port in (port, other)]
    answer, token, trailing = call(channels[0], "Put")
    assert answer == b"far" and token, (answer, token)
    assert "x-sum" in trailing and not [name for name in trailing if name.startswith("meridian")], trailing
    answer, _, _ = call(channels[1], "Get", token)
    assert answer == b"far has to show nothing", answer
    answer, renewed, _ = call(channels[0], "Get", token)
    assert answer == b"far has to show far=5" and renewed, answer
    answer, _, _ = call(channels[1], "Get", renewed)
    assert answer == b"far has to show far=5", answer
    print("all is well")


if sys.argv[1] == "origin":
    origin()
else:
    client(*sys.argv[2:])
