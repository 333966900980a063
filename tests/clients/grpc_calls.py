"""A gRPC origin and its client, without generated code: messages are bytes.

    grpc_calls.py origin
    grpc_calls.py client PORT CERTIFICATE
"""

import queue
import sys
import threading
from concurrent import futures

import grpc

HOST = "www.example.com"


def unary(request, context):
    context.set_trailing_metadata((("x-sum", str(len(request))),))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no, because ü")
    if request == b"hang":
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(20)
        print("the call was given up", flush=True)
    return request[::-1]


def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def total(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def echo(requests, context):
    for request in requests:
        yield request


def origin():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Calls", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("listening on", port, "now", flush=True)
    server.wait_for_termination()


def talk(channel):
    """Both sides in turn: each message is sent when the answer to the last has come."""
    said = queue.Queue()
    answers = channel.stream_stream("/test.Calls/Echo")(iter(said.get, None), timeout=20)
    for number in range(3_000):
        said.put(b"message %d" % number)
        assert next(answers) == b"message %d" % number
    said.put(None)
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def fails(call, message, code, **more):
    try:
        call(message, **more)
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError(f"{message}: {code} was expected")


def client(port, certificate):
    with open(certificate, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = (("grpc.ssl_target_name_override", HOST), ("grpc.default_authority", HOST))
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        call = channel.unary_unary("/test.Calls/Unary")
        answer, whole = call.with_call(b"abc", timeout=20)
        assert answer == b"cba"
        assert ("x-sum", "3") in whole.trailing_metadata(), whole.trailing_metadata()
        big = b"x" * 3_000_000
        assert call(big, timeout=20) == big
        failed = fails(call, b"fail", grpc.StatusCode.FAILED_PRECONDITION, timeout=20)
        assert failed.details() == "no, because ü", failed.details()
        fails(call, b"hang", grpc.StatusCode.DEADLINE_EXCEEDED, timeout=1)
        numbers = channel.unary_stream("/test.Calls/Count")(b"1000", timeout=20)
        assert [int(number) for number in numbers] == list(range(1000))
        parts = (b"x" * 1000 for _ in range(1000))
        assert channel.stream_unary("/test.Calls/Total")(parts, timeout=20) == b"1000000"
        talk(channel)
    print("all is well")


if sys.argv[1] == "origin":
    origin()
else:
    client(int(sys.argv[2]), sys.argv[3])
