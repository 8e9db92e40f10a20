"""gRPC as all services speak it: the server with everything around a handler, and the client's channel."""

from libs.rpc.calls import Caller, caller, stopping
from libs.rpc.channel import open_channel
from libs.rpc.health import ReadinessCheck
from libs.rpc.loop import run
from libs.rpc.masking import mask_personal
from libs.rpc.paging import decode_token, encode_token, page_size, uuid_behind
from libs.rpc.permissions import ApiKeys
from libs.rpc.server import RpcServer
from libs.rpc.status import error_from
from libs.rpc.tls import Tls

__all__ = [
    "ApiKeys",
    "Caller",
    "ReadinessCheck",
    "RpcServer",
    "Tls",
    "caller",
    "decode_token",
    "encode_token",
    "error_from",
    "mask_personal",
    "open_channel",
    "page_size",
    "run",
    "stopping",
    "uuid_behind",
]
