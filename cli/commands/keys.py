"""`tessera keys`: API keys for those who call Tessera by gRPC."""

import re
from typing import Annotated

import typer

from cli import access
from cli.home import Home
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, out, print_json, table
from libs.errors import FailedPrecondition, Invalid, NotFound
from libs.rpc.calls import READ_PERSONAL
from libs.rpc.permissions import PUBLIC, all_services, permissions_of_all

app = typer.Typer(
    help="Keys for programs that call Tessera by gRPC, and what each may do.", no_args_is_help=True
)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def permissions() -> list[str]:
    """All permissions that a key can hold by name: what the contracts ask for, and personal data."""
    return sorted({*permissions_of_all(all_services()).values(), READ_PERSONAL} - {PUBLIC})


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    allow: Annotated[
        list[str],
        typer.Option(
            help="What it may do: profile.read, segment.* for all of segment, or * for everything. "
            "Repeatable. Without pii.read personal data is blank.",
        ),
    ],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Create a key, or say anew what the one of this name may do.

    It is taken up within a second, and kept in the home's folder secrets/keys. docs/grpc.md lists the
    permissions; the contracts name that of each method.

    [bold]Examples[/bold]

      tessera keys create crm --allow profile.read --allow pii.read

      tessera keys create analyst --allow "segment.*"
    """
    place = _place(home)
    _check(name)
    for permission in allow:
        _check_permission(permission)
    key = access.put_api_key(place, name, sorted(set(allow)))
    if as_json:
        print_json({"name": name, "key": key, "permissions": sorted(set(allow))})
        return
    out.print(f"key [bold]{name}[/bold] ({', '.join(sorted(set(allow)))})")
    out.print(key, markup=False, soft_wrap=True)
    out.print("\nSend it with every call, as metadata:")
    out.print(f"  authorization: Bearer {key}", markup=False, soft_wrap=True)


@app.command("list")
def list_(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List all keys with what they may do, Tessera's own too; the keys themselves stay hidden."""
    keys = access.read_api_keys(_place(home))
    if as_json:
        print_json([{"name": name, "permissions": key["permissions"]} for name, key in keys.items()])
        return
    shown = table("key", "may")
    for name, key in keys.items():
        note = "  [dim](Tessera's own)[/dim]" if name in access.PERMISSIONS else ""
        shown.add_row(name, f"{', '.join(key['permissions'])}{note}")
    out.print(shown)


@app.command("delete")
def delete(
    name: Annotated[str, typer.Argument(help="The key's name.")], home: HomeOption = DEFAULT_HOME
) -> None:
    """Delete a key: within a second nobody can call with it."""
    place = _place(home)
    _check(name)
    if not access.delete_api_key(place, name):
        raise NotFound(f"there is no key {name}")
    out.print(f"Deleted key {name}.")


def _place(folder: HomeOption) -> Home:
    place = Home.at(folder)
    if not place.api_keys.exists():
        raise FailedPrecondition(f"nothing ever ran in {place.folder}: start with `tessera up`")
    return place


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid("name", "must be lower-case letters, digits, - and _, at most 63")
    if name in access.PERMISSIONS:
        raise Invalid("name", f"{name} is a key of Tessera's own; choose another name")


def _check_permission(permission: str) -> None:
    known = permissions()
    areas = {f"{each.partition('.')[0]}.*" for each in known}
    if permission not in {*known, *areas, "*"}:
        raise Invalid("--allow", f"there is no permission {permission}; there are {', '.join(known)}")
