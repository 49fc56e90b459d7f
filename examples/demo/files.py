#!/usr/bin/env python3
"""Choose files of this host whose names say what they are, for the demo's pipeline file-type.

    files.py --count N --seed S --out DIR

Writes DIR/truth.json: a list of {"file", "label"}, `file` an absolute path below /usr, `label` what its extension
stands for among the labels of magika. At most 25 files of an extension, none above 1 MiB, so that no kind of file
outweighs the others. The same seed on the same files chooses the same ones, in the same order, and a smaller count
takes the first.

Extensions are imperfect labels (a `.h` may hold C++), so accuracies are a little too low for every model alike.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

ROOT = "/usr"
PER_EXTENSION = 25
MAX_BYTES = 1 << 20

LABELS = {
    "awk": "awk", "bash": "shell", "bat": "batch", "bmp": "bmp", "bz2": "bzip", "c": "c", "cc": "cpp",
    "class": "javabytecode", "cmake": "cmake", "cpp": "cpp", "cs": "cs", "css": "css", "csv": "csv", "dart": "dart",
    "deb": "deb", "diff": "diff", "el": "lisp", "erl": "erlang", "exe": "pebin", "f": "fortran", "f90": "fortran",
    "gemspec": "gemspec", "gif": "gif", "go": "go", "gz": "gzip", "h": "c", "hpp": "cpp", "hs": "haskell",
    "html": "html", "icns": "icns", "ico": "ico", "ini": "ini", "ipynb": "ipynb", "jar": "jar", "java": "java",
    "jpeg": "jpeg", "jpg": "jpeg", "js": "javascript", "json": "json", "jsonl": "jsonl", "kt": "kotlin", "lua": "lua",
    "m4": "m4", "md": "markdown", "mjs": "javascript", "mk": "makefile", "ml": "ocaml", "mp3": "mp3", "npy": "npy",
    "npz": "npz", "o": "elf", "odt": "odt", "ogg": "ogg", "otf": "otf", "parquet": "parquet", "pas": "pascal",
    "patch": "diff", "pcap": "pcap", "pdf": "pdf", "pem": "pem", "php": "php", "pickle": "pickle", "pl": "perl",
    "pm": "perl", "png": "png", "po": "po", "proto": "proto", "ps": "postscript", "ps1": "powershell", "py": "python",
    "pyc": "pythonbytecode", "pyi": "python", "r": "r", "rb": "ruby", "rs": "rust", "rst": "rst", "scala": "scala",
    "scss": "scss", "sh": "shell", "so": "elf", "sql": "sql", "sqlite": "sqlite", "svg": "svg", "swift": "swift",
    "tar": "tar", "tcl": "tcl", "tex": "latex", "tiff": "tiff", "toml": "toml", "ttf": "ttf", "txt": "txt",
    "wav": "wav", "webp": "webp", "whl": "zip", "woff": "woff", "woff2": "woff2", "xml": "xml", "xz": "xz",
    "yaml": "yaml", "yml": "yaml", "zip": "zip",
}  # fmt: skip


def extension(name: str) -> str:
    return name.rpartition(".")[2].lower()


def rank(seed: int, path: str) -> bytes:
    return hashlib.sha256(f"{seed} {path}".encode(errors="surrogateescape")).digest()


def usable(path: str) -> bool:
    try:
        return not os.path.islink(path) and 0 < os.path.getsize(path) <= MAX_BYTES and os.access(path, os.R_OK)
    except OSError:
        return False


def candidates() -> dict[str, list[str]]:
    """Paths by extension. Only regular names: what is no UTF-8 cannot be written as JSON."""
    found: dict[str, list[str]] = {}
    for folder, folders, names in os.walk(ROOT):
        folders.sort()
        for name in names:
            if "." in name[1:] and extension(name) in LABELS and name.isprintable():
                found.setdefault(extension(name), []).append(os.path.join(folder, name))
    return found


def choose(count: int, seed: int) -> list[dict]:
    chosen: list[str] = []
    for paths in candidates().values():
        taken = 0
        for path in sorted(paths, key=lambda path: rank(seed, path)):
            if taken == PER_EXTENSION:
                break
            if usable(path):
                chosen.append(path)
                taken += 1
    chosen.sort(key=lambda path: rank(seed, path))
    return [{"file": path, "label": LABELS[extension(path)]} for path in chosen[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Choose files of this host whose names say what they are.")
    parser.add_argument("--count", type=int, required=True, help="how many files at most")
    parser.add_argument("--seed", type=int, required=True, help="the same seed chooses the same files")
    parser.add_argument("--out", type=Path, required=True, help="folder to write truth.json to")
    args = parser.parse_args()
    truth = choose(args.count, args.seed)
    if not truth:
        sys.exit(f"files.py: no files of known extensions below {ROOT}")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "truth.json").write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n")
    print(f"files: {len(truth)} files of {len({t['label'] for t in truth})} kinds, seed {args.seed}")


if __name__ == "__main__":
    main()
