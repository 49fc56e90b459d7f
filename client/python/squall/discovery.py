"""Where a cluster is: the file that `squall up` leaves for the tools of its user,
`${XDG_RUNTIME_DIR:-/tmp}/squall-<uid>/<name>.json`."""

from __future__ import annotations

import difflib
import json
import os
import pathlib

from squall.errors import Code, SquallError
from squall.link import Keys

DEFAULT_NAME = "squall"


def runtime_folder() -> pathlib.Path:
    return pathlib.Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"squall-{os.getuid()}"


def known_clusters() -> list[str]:
    """The names of this user's clusters on this host, ascending."""
    return sorted(path.stem for path in runtime_folder().glob("*.json"))


def load_keys(folder: str | os.PathLike[str]) -> Keys:
    """The client's part of a folder that `squall keys new` made."""
    base = pathlib.Path(folder)
    return Keys(
        _read_key(base / "server.public", False),
        _read_key(base / "client.public", False),
        _read_key(base / "client.secret", True),
    )


def _read_key(path: pathlib.Path, secret: bool) -> str:
    try:
        if secret and path.stat().st_mode & 0o077:
            raise SquallError(Code.PERMISSION_DENIED, f"others may read {path}; run: chmod 600 {path}")
        return path.read_text().split()[0]
    except (OSError, IndexError):
        raise SquallError(Code.NOT_FOUND, f"cannot read the key {path}; `squall keys new` makes one") from None


def find_cluster(where: str | None, keys: Keys | str | os.PathLike[str] | None) -> tuple[str, Keys | None]:
    """The endpoint and the keys of an endpoint ("tcp://..."), of a cluster by its name, or of the only one that runs
    here."""
    loaded = keys if isinstance(keys, Keys) or keys is None else load_keys(keys)
    if where is not None and "://" in where:
        return where, loaded
    names = known_clusters()
    if where is None:
        where = DEFAULT_NAME if DEFAULT_NAME in names else names[0] if len(names) == 1 else None
    if where is None or where not in names:
        raise _no_cluster(where, names)
    info = _read_runtime_file(where)
    if loaded is None and info.get("keys"):
        loaded = load_keys(info["keys"])
    return info["endpoint"], loaded


def _read_runtime_file(name: str) -> dict[str, str]:
    path = runtime_folder() / f"{name}.json"
    try:
        info = json.loads(path.read_text())
        pid = int(info["pid"])
        endpoint = str(info["endpoint"])
    except (OSError, ValueError, KeyError, TypeError):
        raise SquallError(
            Code.NOT_FOUND, f"{path} does not say where the cluster '{name}' is; start it again"
        ) from None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise SquallError(
            Code.NOT_FOUND, f"cluster '{name}' has died (its process {pid} is gone); start it again with `squall up`"
        ) from None
    except PermissionError:
        pass
    return {"endpoint": endpoint, "keys": str(info.get("keys") or "")}


def _no_cluster(name: str | None, names: list[str]) -> SquallError:
    if not names:
        text = (
            "no cluster of yours runs on this host; start one with `squall up`, use squall.local(), or name an "
            "endpoint: connect('tcp://...')"
        )
    elif name is None:
        text = f"several clusters run here: {', '.join(names)}; choose one: connect('{names[0]}')"
    else:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; running: {', '.join(names)}"
        text = f"unknown cluster '{name}'{hint}"
    return SquallError(Code.NOT_FOUND, text)
