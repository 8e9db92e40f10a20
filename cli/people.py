"""Finds a person by whatever somebody has at hand."""

import re
import uuid

import grpc

from cli.clients import Clients
from libs.addresses import normal_email, normal_phone
from libs.errors import NotFound
from libs.rpc import error_from
from tessera.profile.v1 import profile_pb2
from tessera.profile.v1 import profile_service_pb2 as pb

KIND_WORDS = {
    profile_pb2.IDENTIFIER_KIND_USER_ID: "user id",
    profile_pb2.IDENTIFIER_KIND_EMAIL: "email",
    profile_pb2.IDENTIFIER_KIND_PHONE: "phone",
    profile_pb2.IDENTIFIER_KIND_ANONYMOUS_ID: "anonymous id",
}


def requests_for(text: str) -> list[pb.GetProfileRequest]:
    """What the text may name, the likeliest first."""
    kinds = []
    if normal_email(text):
        kinds.append(profile_pb2.IDENTIFIER_KIND_EMAIL)
    if re.fullmatch(r"[+0-9 ().\-/]+", text) and normal_phone(text):
        kinds.append(profile_pb2.IDENTIFIER_KIND_PHONE)
    kinds += [profile_pb2.IDENTIFIER_KIND_USER_ID, profile_pb2.IDENTIFIER_KIND_ANONYMOUS_ID]
    asked = [pb.GetProfileRequest(identifier=profile_pb2.Identifier(kind=kind, value=text)) for kind in kinds]
    try:
        uuid.UUID(text)
    except ValueError:
        return asked
    return [pb.GetProfileRequest(profile_id=text), *asked]


async def find(clients: Clients, text: str) -> profile_pb2.Profile:
    """The person that the text names, by user id, address, number, device or profile id."""
    profile = await clients.profile()
    for request in requests_for(text):
        try:
            return (await profile.GetProfile(request)).profile
        except grpc.aio.AioRpcError as error:
            if not isinstance(error_from(error), NotFound):
                raise
    raise NotFound(f"nobody is known by {text!r}: no user id, email, phone, anonymous id or profile id")
