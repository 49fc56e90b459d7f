"""The rules of the house, as functions from files to findings; docs/architecture.md explains them.

A file is a path from the root and its text. A finding is one line for people: "path:line: what is wrong".
"""

import posixpath
import re

# Which folders each folder may include, beside itself.
MAY_INCLUDE = {
    "base": "",
    "functions": "base",
    "calls": "base functions",
    "policy": "base functions calls",
    "wire": "base functions calls",
    "actors": "base functions calls wire",
    "client": "base functions calls wire",
    "sim": "base functions calls policy",
    "kvs": "base functions calls wire actors",
    "controller": "base functions calls policy wire actors",
    "executors": "base functions calls policy wire actors kvs",
    "gateway": "base functions calls policy wire client",
    "cluster": "base functions calls policy wire actors client sim kvs controller executors gateway",
    "examples": "base functions calls wire client bench",
}
# These may include everything.
UNBOUND = {"tests", "bench"}

# Third-party headers and the folders that are their homes. A header that matches none of these may be used anywhere.
HOMES = [
    (r"caf/", "actors kvs controller executors cluster"),
    (r"zmq\.h(pp)?$", "wire/zmq actors"),
    (r"msgpack", "tests"),
    (r"rocksdb/", "kvs"),
    (r"hiredis/", "kvs"),
    (r"cuda|nvrtc|cublas", "executors/cuda"),
    (r"CL/|clblast", "executors/opencl"),
    (r"openvino/", "executors/cpu"),
    (r"opencv2/|turbojpeg\.h$|png\.h$|clipper\.hpp$|magic\.h$", "functions/builtin"),
    (r"yaml-cpp/", "client cluster"),
    (r"rapidjson/", "calls client gateway"),
    (r"CLI/", "client/cli cluster examples sim/verbs"),
    (r"spdlog/", "cluster"),
    (r"prometheus/|boost/|grpc|google/protobuf", "gateway"),
]

# Folders whose code only decides, and what they therefore may not touch.
PURE = ["policy", "functions", "sim", "kvs/core", "cluster/core"]
NOT_PURE = ["functions/builtin", "sim/verbs"]
BANS = [
    (
        r"\b(system|steady|high_resolution|utc|file)_clock\b|\bclock_gettime\b|\bgettimeofday\b|\btime\(nullptr\)",
        "a clock",
    ),
    (r"\bsleep_(for|until)\b|\b[un]?sleep\s*\(", "a sleep"),
    (r"\bstd::(j?thread|async|future|promise|this_thread)\b|#include <(thread|future|stop_token)>", "a thread"),
    (r"\bstd::(\w*mutex|condition_variable\w*|lock_guard|unique_lock|atomic\w*)\b|#include <(mutex|atomic)>", "a lock"),
    (r"#include <(iostream|fstream|filesystem|cstdio|unistd\.h|fcntl\.h|sys/[\w/.]+|poll\.h|netinet/\w+\.h)>", "I/O"),
    (r"\b(secure_)?getenv\b", "the environment"),
    (
        r"\bstd::(random_device|mt19937\w*|default_random_engine|\w+_distribution)\b|#include <random>",
        "the library's random numbers",
    ),
]
UNORDERED = re.compile(r"\bunordered_(?:multi)?(?:map|set)<[^;{}]*>\s*&?\s*(\w+)\s*[;{=,)]")

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def within(path, folders):
    """Whether the path lies in one of the folders (or is one of the files)."""
    return any(path == f or path.startswith(f + "/") for f in folders)


def lines_of_code(text):
    """Line number and text without comments; strings keep their quotes only."""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    for number, line in enumerate(text.split("\n"), 1):
        if not INCLUDE.match(line):
            line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        yield number, line.split("//")[0]


def sources(files):
    return {path: text for path, text in files.items() if path.endswith((".cpp", ".hpp", ".h", ".cu"))}


def check_levels(files):
    """Includes point down, to folders that may be known."""
    findings = []
    for path, text in sources(files).items():
        folder = path.split("/")[0]
        if folder in UNBOUND:
            continue
        allowed = set(MAY_INCLUDE.get(folder, "").split()) | {folder}
        for number, line in lines_of_code(text):
            match = INCLUDE.match(line)
            if not match or not match.group(1):
                continue
            included = match.group(1)
            if included not in files:
                findings.append(f'{path}:{number}: "{included}" is not a path from the root')
            elif included.split("/")[0] not in allowed:
                findings.append(f"{path}:{number}: {folder}/ may not include {included}")
    return findings


def check_homes(files):
    """Third-party headers stay in their homes, and RocksDB in one file."""
    findings = []
    rocksdb_files = set()
    for path, text in sources(files).items():
        if within(path, UNBOUND):
            continue
        for number, line in lines_of_code(text):
            match = INCLUDE.match(line)
            header = match.group(2) if match else None
            if not header:
                continue
            for pattern, homes in HOMES:
                if re.match(pattern, header) and not within(path, homes.split()):
                    findings.append(f"{path}:{number}: <{header}> is at home in {homes.replace(' ', ', ')} only")
            if header.startswith("rocksdb/"):
                rocksdb_files.add(path)
    if len(rocksdb_files) > 1:
        findings.append("RocksDB is included in more than one file: " + ", ".join(sorted(rocksdb_files)))
    return findings


def check_bans(files):
    """Pure folders decide and do nothing else."""
    findings = []
    for path, text in sources(files).items():
        if not within(path, PURE) or within(path, NOT_PURE):
            continue
        unordered = set(UNORDERED.findall(text))
        for number, line in lines_of_code(text):
            findings += [
                f"{path}:{number}: {what} in a pure folder" for pattern, what in BANS if re.search(pattern, line)
            ]
            walked = re.search(r"\bfor\s*\(.*:\s*\*?(\w+)\s*\)", line)
            if walked and walked.group(1) in unordered:
                findings.append(f"{path}:{number}: the order of the unordered {walked.group(1)} decides")
    return findings


def check_readmes(files):
    """Every folder at the top says what it is."""
    folders = {path.split("/")[0] for path in files if "/" in path}
    return [
        f"{folder}/README.md is missing: what lives here, what it may include, the three types to read first"
        for folder in sorted(folders)
        if not folder.startswith(".") and f"{folder}/README.md" not in files
    ]


def check_targets(files):
    """Every source file is named in the CMakeLists.txt of its folder or of one above."""
    findings = []
    for path in files:
        if not path.endswith(".cpp"):
            continue
        folder = posixpath.dirname(path)
        while folder:
            lists = files.get(f"{folder}/CMakeLists.txt", "")
            name = re.escape(posixpath.relpath(path, folder))
            if re.search(rf"(^|[\s(\"/]){name}($|[\s)\"])", lists):
                break
            folder = posixpath.dirname(folder)
        else:
            findings.append(f"{path}: in no CMakeLists.txt, so nothing builds it")
    return findings


def check_leftovers(files):
    """Work that was to be done at once is done."""
    mark = "TODO(" + "now)"
    return [
        f"{path}:{number}: {mark}"
        for path, text in files.items()
        for number, line in enumerate(text.split("\n"), 1)
        if mark in line
    ]


RULES = [check_levels, check_homes, check_bans, check_readmes, check_targets, check_leftovers]
