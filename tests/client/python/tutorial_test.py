"""docs/python.md, executed: each block in its turn, and what it prints."""

import contextlib
import io
import linecache
import pathlib
import re
import unittest

import squall

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks():
    """Each block with the line where it begins, and what it shall print."""
    page = PAGE.read_text()
    for found in BLOCK.finditer(page):
        yield page.count("\n", 0, found.start(1)) + 1, found[1], found[2] or ""


class Tutorial(unittest.TestCase):
    def test_every_block_prints_what_the_page_says(self):
        names = {"__name__": "__main__"}
        with contextlib.ExitStack() as stack:
            for number, (line, code, expected) in enumerate(blocks()):
                if number == 1:  # the first has a server of its own; those after it share one
                    names["cluster"] = stack.enter_context(squall.local())
                with self.subTest(line=line):
                    file = f"python.md:{line}"
                    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
                    printed = io.StringIO()
                    with contextlib.redirect_stdout(printed):
                        exec(compile(code, file, "exec"), names)
                    self.assertEqual(printed.getvalue(), expected)

    def test_there_are_blocks(self):
        self.assertGreater(len(list(blocks())), 15)


if __name__ == "__main__":
    unittest.main()
