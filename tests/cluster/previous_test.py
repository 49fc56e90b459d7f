"""Clients of earlier releases speak to this server: their bytes, kept when they were new, are said again, and its
answers are read with what was known then."""

import json
import unittest

import conversations
import zmtp
from basics_test import SLEEP
from harness import Cluster


class EarlierReleases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.cluster.apply(SLEEP)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def say_again(self, steps):
        """One connection; the answers come in any order, beside what nobody asked for."""
        answers = {}
        with zmtp.Peer(self.cluster.info["endpoint"]) as peer:
            for step in steps:
                frames = [bytes.fromhex(f) for f in step["says"]]
                request = zmtp.unpack(frames[0])[3]
                peer.send(frames)
                expected = step.get("hears")
                while expected and request not in answers:
                    received = peer.receive()
                    head = zmtp.unpack(received[0])
                    answers[head[3]] = (head, received[1:])
                if expected:
                    head, payloads = answers.pop(request)
                    self.check(expected, head, payloads, frames[1:])
        return sum("hears" in step for step in steps)

    def check(self, expected, head, payloads, sent):
        version, kind, to, _, body = head[:5]
        self.assertEqual((version, kind), (1, expected["type"]), head)
        self.assertIn(to, (zmtp.ANY, zmtp.CLIENT), head)
        self.assertIsNone(conversations.mismatch(expected["body"], body), head)
        self.assertEqual(len(payloads), expected["payloads"])
        if kind == zmtp.CALL_RESULT and payloads:
            self.assertEqual(payloads, sent, "the DAG gives back what it was given")

    def test_what_they_say_is_understood_and_they_understand_the_answers(self):
        files = conversations.stored()
        self.assertGreaterEqual(len(files), 2)
        for file in files:
            conversation = json.loads(file.read_text())
            with self.subTest(conversation["of"]):
                checked = sum(self.say_again(steps) for steps in conversation["connections"])
                self.assertGreaterEqual(checked, 10, "hellos, calls and questions")

    def test_the_check_itself_finds_what_changed(self):
        wrong = conversations.mismatch
        self.assertIsNone(wrong(["uint", ["str"]], [1, ["a", 2], "later"]))
        self.assertIn("body[0]", wrong(["uint"], ["text"]))
        self.assertIn("at least 2", wrong(["uint", "str"], [1]))
        self.assertIn("not 0", wrong([{"is": 0}], [7]))
        self.assertIsNone(wrong(["int", "any"], [7, None]))


if __name__ == "__main__":
    unittest.main()
