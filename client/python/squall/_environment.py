"""Makes the folder of packages that a Python function's `requirements` name: docs/workers.md.

`python -I _environment.py FOLDER REQUIREMENT...` makes FOLDER (named by a hash of the requirements) if it is not there
yet; whoever comes second waits for the first. Each line that it prints tells how far it is. Status 0: the folder is
complete. Status 1: the last line says why not. Only wheels are installed: a source package would run code of its own
while it is built, outside of any sandbox. pip's own variables (PIP_INDEX_URL and so on) count.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

_COMPLETE = ".complete"
_PIP = (
    "-m",
    "pip",
    "install",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar=off",
    "--no-color",
    "--only-binary=:all:",
    "--no-warn-script-location",
    "--retries=3",
    "--timeout=30",
)
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])?\s*([~=!<>]=?[^@/\\;]*)?(;.*)?\Z")


def check(requirements: list[str]) -> None:
    """Names and versions only: a path or an address would read the host's files, an option change what pip does."""
    for line in requirements:
        if not _REQUIREMENT.match(line):
            raise ValueError(f"'{line}' is no requirement such as 'pillow==11.0.0' or 'scipy>=1.11,<2'")


def reason(errors: str) -> str:
    """What pip said, in one line."""
    lines = [line.removeprefix("ERROR: ").strip() for line in errors.splitlines() if line.startswith("ERROR: ")]
    for line in lines:
        if missing := re.match(r"No matching distribution found for (.*)", line):
            versions = next((line for line in lines if "from versions: " in line), "")
            known = re.search(r"from versions: (.*)\)", versions)
            if known and known[1] != "none":
                return f"there is no wheel of '{missing[1]}' for this Python; there are versions {known[1][-200:]}"
            return f"there is no package '{missing[1]}' with a wheel for this Python; is its name right?"
    return lines[-1] if lines else (errors.strip().splitlines() or ["pip failed without a word"])[-1]


def text_of(requirements: list[str]) -> str:
    return "\n".join(requirements) + "\n"


def make(folder: pathlib.Path, requirements: list[str]) -> None:
    """Into a folder beside it, which gets its name when it is complete."""
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        print(f"installing {', '.join(requirements)}", flush=True)
        words = [sys.executable, "-I", *_PIP, "--target", str(temporary), *requirements]
        with tempfile.TemporaryFile("w+") as errors:
            pip = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
            assert pip.stdout is not None
            for line in pip.stdout:
                if line.startswith(("Collecting", "Downloading", "Installing", "Using cached")):
                    print(line.rstrip()[:200], flush=True)
            if pip.wait() != 0:
                errors.seek(0)
                raise RuntimeError(reason(errors.read()))
        (temporary / _COMPLETE).write_text(text_of(requirements))
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)  # what an attempt of another kind left
        temporary.rename(folder)
        print("installed", flush=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def main() -> int:
    if len(sys.argv) < 3:
        print("usage: _environment.py FOLDER REQUIREMENT...", file=sys.stderr)
        return 2
    folder = pathlib.Path(sys.argv[1]).absolute()
    requirements = sorted({line.strip() for line in sys.argv[2:]})
    try:
        check(requirements)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(folder.parent / f".{folder.name}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("waiting for another process that installs the same", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            complete = folder / _COMPLETE
            if not complete.exists():
                make(folder, requirements)
            elif complete.read_text() != text_of(requirements):
                raise RuntimeError(
                    f"{folder} holds other packages with the same hash; change the order or the versions"
                )
    except (OSError, ValueError, RuntimeError) as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
