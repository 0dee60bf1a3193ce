"""One decoder for the frames of all local sockets: whatever is no message is a LinkError that names its kind."""

import msgspec
import pytest

from cabinet.errors import LinkError
from cabinet.link import guard_protocol, service_protocol
from cabinet.system.steward import protocol as steward

DECODERS = {
    "a message to the guard": guard_protocol.decode_from_client,
    "a message of the guard": guard_protocol.decode_from_guard,
    "a question to the service": service_protocol.decode_query,
    "an answer of the service": service_protocol.decode_answer,
    "a request to the steward": steward.decode_request,
    "an answer of the steward": steward.decode_answer,
}
FRAMES = {
    "empty": b"",
    "another type": msgspec.msgpack.encode({"type": "nothing of the kind"}),
    "another type as JSON": b'{"type":"nothing of the kind"}',
    "not UTF-8": b'{"type":"\xff"}',
    "text of msgpack that is not UTF-8": b"\x81\xa4type\xa1\xff",
    "deep lists": b"[" * 100_000,
    "deep lists of msgpack": b"\x91" * 100_000,
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("message", DECODERS)
def test_frame_that_is_no_message_is_named(message, frame):
    with pytest.raises(LinkError, match=f"^not {message}: "):
        DECODERS[message](frame)
