"""Tables, rewrite rules and calls that go on with another DAG, on real clusters."""

import pathlib
import struct
import tempfile
import unittest

from harness import EXAMPLES, Cluster

ORDERS = """customer,price,count
1,2.5,4
2,10,1
1,,3
3,0,9
2,1,5
9,7,7
"""
CUSTOMERS = """id,city
1,Rome
2,Oslo
3,Rome
"""
REPORT = "city,orders,turnover,best\nRome,1,10,10\nOslo,2,15,10\n"

SPEC = """
apiVersion: squall/v1
kind: Function
metadata: {name: nap}
spec: {variants: [{builtin: sleep, parameters: {milliseconds: 30}}]}
---
apiVersion: squall/v1
kind: Function
metadata: {name: echo}
spec: {variants: [{builtin: noop}]}
---
apiVersion: squall/v1
kind: Function
metadata: {name: index-echo}
spec:
  inputs: {x: {datatype: INT32, shape: [-1]}}
  outputs: {x: {datatype: INT32, shape: [-1]}}
  variants: [{builtin: noop}]
---
apiVersion: squall/v1
kind: Function
metadata: {name: bad-label}
spec: {variants: [{builtin: label, parameters: {labels: "inline:only"}}]}
---
apiVersion: squall/v1
kind: Function
metadata: {name: keep}
spec: {variants: [{builtin: first-present}]}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: race}
spec:
  optimize: [compete]
  inputs: {x: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: slow, function: nap, inputs: {x: $x}, compete: 3}
  - {name: last, function: echo, inputs: {x: slow.x}}
  outputs: {x: last.x}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: lost-race}
spec:
  optimize: [compete]
  inputs: {index: {datatype: INT32, shape: [-1]}}
  stages:
  - {name: name, function: bad-label, inputs: {index: $index}, compete: 2}
  outputs: {label: name.label}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: other-label}
spec:
  inputs: {label: {datatype: BYTES, shape: [-1]}}
  stages:
  - {name: keep, function: keep, inputs: {a: $label}}
  outputs: {copy: keep.value}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: one-label}
spec:
  inputs: {index: {datatype: INT32, shape: [-1]}}
  stages:
  - {name: name, function: bad-label, inputs: {index: $index}}
  outputs: {label: name.label}
"""


def user_table(users):
    """A table of one INT64 column "user", as docs/tables.md says."""
    name = b"user"
    data = struct.pack(f"<{len(users)}q", *users)
    offset = -(-(24 + 32 + len(name)) // 64) * 64
    head = struct.pack("<8sQII", b"SQTABLE\1", len(users), 1, 0)
    head += struct.pack("<QQQIHBB", offset, len(data), 24 + 32, 1, len(name), 9, 0) + name
    return list(head.ljust(offset, b"\0") + data)


LOOKUP = """
apiVersion: squall/v1
kind: Function
metadata: {name: find-user}
spec: {variants: [{builtin: table-lookup, parameters: {key: user, prefix: users/, into: name}}]}
---
apiVersion: squall/v1
kind: Function
metadata: {name: as-csv}
spec: {variants: [{builtin: table-to-csv}]}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: users}
spec:
  optimize: [locality]
  inputs: {users: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: found, function: find-user, inputs: {table: $users}}
  - {name: text, function: as-csv, inputs: {table: found.table}}
  outputs: {text: text.data}
"""


class OneNode(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster())
        cls.cluster.apply(SPEC)
        folder = tempfile.TemporaryDirectory(prefix="squall-tables-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        (cls.folder / "orders.csv").write_text(ORDERS)
        (cls.folder / "customers.csv").write_text(CUSTOMERS)

    def call(self, *arguments):
        return self.cluster.json("call", *arguments)

    def refused(self, *arguments):
        """What a call that fails says."""
        return self.cluster.run("call", *arguments, status=1) + self.cluster.stderr

    def report(self, dag):
        return self.call(
            dag, "-i", f"orders=@{self.folder}/orders.csv", "-i", f"customers=@{self.folder}/customers.csv"
        )

    def test_the_example_gives_the_same_fused_and_not(self):
        spec = (EXAMPLES / "sales-report.yaml").read_text()
        self.cluster.apply(spec)
        fused = self.report("sales-report")
        self.assertEqual(fused["outputs"]["report"]["data"], [REPORT])
        self.assertEqual([t["stage"] for t in fused["trace"]], ["customers", "orders--turnover", "join--text"])
        plain = spec.replace("  optimize: [fuse]\n", "").replace(
            "metadata: {name: sales-report}", "metadata: {name: plain-report}"
        )
        self.cluster.apply(plain)
        unfused = self.report("plain-report")
        self.assertEqual(unfused["outputs"], fused["outputs"])
        self.assertEqual(len(unfused["trace"]), 7)

    def test_numpy_reads_tables_as_the_page_says(self):
        try:
            import numpy
        except ImportError:
            self.skipTest("numpy is not installed")
        page = (EXAMPLES.parent / "docs" / "tables.md").read_text()
        names = {}
        exec(page.split("```python\n")[1].split("```")[0], names)
        self.cluster.apply((EXAMPLES / "sales-report.yaml").read_text())
        out = self.call("read-table", "-i", f"data=@{self.folder}/orders.csv")
        table = names["read_table"](bytes(out["outputs"]["table"]["data"]))
        self.assertEqual(list(table), ["customer", "price", "count"])
        self.assertEqual(table["customer"].tolist(), [1, 2, 1, 3, 2, 9])
        self.assertTrue(numpy.isnan(table["price"][2]))
        cities = self.call("read-table", "-i", f"data=@{self.folder}/customers.csv")
        self.assertEqual(
            names["read_table"](bytes(cities["outputs"]["table"]["data"]))["city"], [b"Rome", b"Oslo", b"Rome"]
        )

    def test_a_failing_step_of_a_fused_stage_is_named(self):
        self.cluster.apply((EXAMPLES / "sales-report.yaml").read_text())
        message = self.refused(
            "sales-report", "-i", "orders=a,b\n1,2\n", "-i", f"customers=@{self.folder}/customers.csv"
        )
        self.assertIn("step 'paid'", message)
        self.assertIn("there is no column 'price'", message)

    def test_competitors_that_lost_are_cancelled(self):
        out = self.call("race", "-i", "x=[7]")
        self.assertEqual(out["outputs"]["x"]["data"], [7])
        trace = {t["stage"]: t for t in out["trace"]}
        lost = [name for name, t in trace.items() if t["cancelled"]]
        self.assertEqual(len(lost), 2, trace)
        self.assertTrue(all(name.startswith("slow--") for name in lost))
        # The only lane is free again: what was queued was taken back.
        self.assertEqual(self.call("echo", "-i", "x=[1]")["outputs"]["x"]["data"], [1])

    def test_when_all_competitors_fail_the_call_says_why(self):
        message = self.refused("lost-race", "-i", "index=[5]")
        self.assertIn("2 of the 2 stages that it joins failed", message)
        self.assertIn("builtin 'label'", message)

    def test_another_dag_continues_a_call(self):
        out = self.call("one-label", "-i", "index=[0]", "--then", "other-label")
        self.assertEqual(out["outputs"]["copy"]["data"], ["only"])
        self.assertEqual(out["outputs"]["one-label.label"]["data"], ["only"], "the results of both")
        again = self.call("echo", "-i", "x=[4]", "--then", "echo", "--then", "race")
        self.assertEqual(again["outputs"]["x"]["data"], [4])
        self.assertLessEqual(
            {"echo--run", "echo--again-run", "race--slow", "race--last"}, {t["stage"] for t in again["trace"]}
        )

    def test_errors_of_what_continues_are_named(self):
        self.assertIn("no-such", self.refused("echo", "-i", "x=[4]", "--then", "no-such"))
        message = self.refused("one-label", "-i", "index=[0]", "--then", "one-label")
        self.assertIn("'one-label' cannot continue 'one-label'", message)
        failed = self.refused("index-echo", "-i", "x=[8]", "--then", "one-label")
        self.assertIn("stage 'one-label--name'", failed)


class Lookups(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(nodes=3))
        cls.cluster.apply(LOOKUP)
        for user, name in ((7, "Ann"), (8, "Bo"), (9, "Cy")):
            cls.put(cls, user, name)

    def put(self, user, name):
        self.cluster.run("kv", "put", f"users/{user}", name)

    def users(self, *users):
        return self.cluster.json("call", "users", "-i", f"users={user_table(users)}")

    def test_keys_are_looked_up_in_the_store(self):
        self.assertEqual(self.users(7, 9, 7)["outputs"]["text"]["data"], ["user,name\n7,Ann\n9,Cy\n7,Ann\n"])

    def test_a_missing_object_is_named(self):
        said = self.cluster.run("call", "users", "-i", f"users={user_table([7, 1])}", status=1) + self.cluster.stderr
        self.assertIn("there is no object 'users/1' in the store", said)

    def test_a_new_value_is_seen(self):
        self.put(10, "old")
        self.assertIn("10,old", self.users(10)["outputs"]["text"]["data"][0])
        self.put(10, "new")
        for _ in range(100):
            if "10,new" in self.users(10)["outputs"]["text"]["data"][0]:
                return
        self.fail("a second later the cache still has the old value")

    def test_calls_that_read_the_same_key_go_to_one_node(self):
        nodes = {user: {self.users(user)["trace"][0]["node"] for _ in range(6)} for user in (7, 8, 9)}
        for user, places in nodes.items():
            self.assertEqual(len(places), 1, f"user {user}: {places}")


if __name__ == "__main__":
    unittest.main()
