#!/usr/bin/env python3
"""What `squall sim kaas | pareto | hybrid` say of lines that are wrong: the line's number and the field, exit status 1,
and answers to the other lines all the same.

    vector_errors_test.py PROGRAM
"""

import json
import subprocess
import sys
import unittest

PROGRAM = "squall"
KAAS = {"policy": "RR", "gpus": 1, "models": {"A": [1, 2]}, "requests": [[0, 0, "A"]]}
PARETO = {"deps": [[], [0]], "opts": [[[1, 2]], [[0.5, 1]]]}
HYBRID = {"cores": 2, "sla": 200, "arrivals": [0.0], "policy": "vm"}

WRONG = [
    ("kaas", KAAS | {"policy": "Best"}, "policy"),
    ("kaas", KAAS | {"mode": "slow"}, "mode"),
    ("kaas", KAAS | {"gpus": 0}, "gpus"),
    ("kaas", KAAS | {"gpus": "2"}, "gpus"),
    ("kaas", KAAS | {"models": [1]}, "models"),
    ("kaas", KAAS | {"models": {"A": [1]}}, "models.A"),
    ("kaas", KAAS | {"models": {"A": [1, -2]}}, "models.A[1]"),
    ("kaas", KAAS | {"requests": [[0, 0, "A"], [1, 0.5, "A"]]}, "requests[1][1]"),
    ("kaas", KAAS | {"requests": [[0, 0, "B"]]}, "requests[0][2]"),
    ("kaas", KAAS | {"requests": [[0, 0, "A"], [0, 1, "A"]]}, "requests[1][0]"),
    ("kaas", KAAS | {"policy": "MLFQS", "draws": []}, "draws"),
    ("kaas", KAAS | {"policy": "Exclusive", "rebalance": "often"}, "rebalance"),
    ("kaas", {"policy": "RR"}, "gpus: missing"),
    ("kaas", [1], "policy"),
    ("pareto", {"deps": [[]]}, "opts: missing"),
    ("pareto", PARETO | {"deps": [[], [1]]}, "deps[1][0]"),
    ("pareto", PARETO | {"deps": [[], [-1]]}, "deps[1][0]"),
    ("pareto", PARETO | {"opts": [[[1, 2]]]}, "deps"),
    ("pareto", PARETO | {"opts": [[[1, 2]], []]}, "opts[1]"),
    ("pareto", PARETO | {"opts": [[[1, 2]], [[1]]]}, "opts[1][0]"),
    ("pareto", PARETO | {"opts": [[[1, 2]], [[1, "x"]]]}, "opts[1][0][1]"),
    ("pareto", PARETO | {"opts": [[[1, 2]], [[-1, 1]]]}, "opts[1][0][0]"),
    ("pareto", PARETO | {"opts": [[[1, 2]], [[1e300, 1]]]}, "opts[1][0][0]"),
    ("hybrid", HYBRID | {"cores": 0}, "cores"),
    ("hybrid", HYBRID | {"sla": -1}, "sla"),
    ("hybrid", HYBRID | {"policy": "cloud"}, "policy"),
    ("hybrid", HYBRID | {"arrivals": [0, "x"]}, "arrivals[1]"),
    ("hybrid", HYBRID | {"arrivals": [0, -1]}, "arrivals[1]"),
]
GOOD = {"kaas": KAAS, "pareto": PARETO, "hybrid": HYBRID}


def run(verb, text):
    return subprocess.run([PROGRAM, "sim", verb], input=text, capture_output=True, text=True, check=False)


class VectorErrors(unittest.TestCase):
    def test_a_wrong_line_is_named_with_its_field(self):
        for verb, wrong, field in WRONG:
            with self.subTest(verb=verb, wrong=wrong):
                good = json.dumps(GOOD[verb])
                done = run(verb, f"{good}\n{json.dumps(wrong)}\n{good}\n")
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"line 2: {field}" if field != "policy" or wrong != [1] else "line 2", done.stderr)
                answers = [json.loads(line) for line in done.stdout.splitlines()]
                self.assertEqual(["error" in a for a in answers], [False, True, False])
                self.assertEqual(answers[0], answers[2])

    def test_text_that_is_no_json_is_named_with_its_line(self):
        for verb in GOOD:
            done = run(verb, '\n{"policy": \n')
            self.assertEqual(done.returncode, 1)
            self.assertIn("line 2:", done.stderr)

    def test_good_lines_leave_nothing_on_standard_error(self):
        for verb, good in GOOD.items():
            done = run(verb, json.dumps(good) + "\r\n\n")
            self.assertEqual((done.returncode, done.stderr, len(done.stdout.splitlines())), (0, "", 1))

    def test_answers_have_the_form_that_was_promised(self):
        self.assertEqual(
            json.loads(run("kaas", json.dumps(KAAS)).stdout),
            {"log": [[0, 0, 0, True]], "total": 3, "cold": 1, "wait": 0},
        )
        self.assertEqual(json.loads(run("pareto", json.dumps(PARETO)).stdout), {"front": [[1.5, 3]]})
        self.assertEqual(
            json.loads(run("hybrid", json.dumps(HYBRID)).stdout), {"vm": 1, "functions": 0, "ends": [39.5]}
        )


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
