"""DAGs by composition: what they become, and what wrong use is told."""

import unittest

import numpy as np
import squall
from squall.errors import Code
from squall.protocol import Writer
from squall.specs import Op, Source


def function(name, inputs, outputs):
    return squall.builtin("noop", name=name, inputs=inputs, outputs=outputs)


F32 = (np.float32, [-1])
tiny = function("read-tiny", {"x": F32}, {"text": bytes, "confidence": F32})
small = function("read-small", {"x": F32}, {"text": bytes, "confidence": F32})
pick = function("pick", {"a": (bytes, [1], "optional"), "b": (bytes, [1], "optional")}, {"value": bytes})
split = function("split", {"x": F32}, {"parts": (np.float32, [-1], "list")})
double = function("double", {"x": F32}, {"y": F32})
scale = function("scale", {"x": F32, "by": (np.float32, [1])}, {"y": F32})
gather = function("gather", {"parts": (np.float32, [-1], "list")}, {"y": F32})


class Composition(unittest.TestCase):
    def test_a_cascade(self):
        with squall.Dag("read-line") as d:
            x = d.input("x", np.float32, [-1])
            fast = tiny(x)
            with squall.when(fast.confidence < 0.97):
                slow = small(x=x)
            d.output(text=pick.options(join=squall.ANY_PRESENT, name="best")(a=slow.text, b=fast.text))
        spec = d.spec()
        self.assertEqual([s.name for s in spec.stages], ["read-tiny", "read-small", "best"])
        slow_stage, best = spec.stages[1], spec.stages[2]
        self.assertEqual(slow_stage.when.op, Op.BELOW)
        self.assertEqual(str(slow_stage.when.subject), "read-tiny.confidence")
        self.assertEqual(best.join.rule, 2)
        self.assertEqual(str(spec.outputs["text"]), "best.value")
        self.assertEqual(str(spec.stages[0].inputs["x"]), "$x")
        spec.to_wire(Writer())

    def test_maps_and_constants(self):
        with squall.Dag("map") as d:
            parts = split(d.input("x", np.float32))
            scaled = scale.options(max_width=16)(squall.each(parts), 2)
            d.output(all=gather(scaled))
        stage = d.spec().stages[1]
        self.assertEqual((stage.map, stage.width_max), (["x"], 16))
        constant = stage.inputs["by"]
        self.assertEqual(constant.source, Source.CONSTANT)
        self.assertEqual(np.frombuffer(constant.constant[2], np.float32).tolist(), [2.0])

    def test_conditions(self):
        with squall.Dag("conditions") as d:
            x = d.input("x", np.float32)
            a = tiny(x)
            condition = ((a.confidence >= 0.5) & ~(a.text == "no")) | squall.present(x)
            with squall.when(condition), squall.when(a.confidence != 3):
                b = small.options(when=a.confidence > 0.1)(x)
            d.output(b.text)
        spec = d.spec().stages[1].when
        self.assertEqual(spec.op, Op.ALL)
        self.assertEqual([c.op for c in spec.children], [Op.ANY, Op.NOT_EQUAL, Op.ABOVE])
        both = spec.children[0].children[0]
        self.assertEqual([c.op for c in both.children], [Op.AT_LEAST, Op.NOT])
        self.assertEqual(both.children[1].children[0].operand, "no")

    def test_k_of_n_and_failures(self):
        with squall.Dag("vote") as d:
            x = d.input("x", np.float32)
            members = [tiny.options(may_fail=True)(x), small(x)]
            d.output(value=pick.options(join=squall.at_least(1, wait=0.04))(members[0].text, members[1].text))
        spec = d.spec()
        self.assertTrue(spec.stages[0].may_fail)
        self.assertEqual(spec.stages[2].join.to_wire(), [3, 1, 40_000_000, False])

    def test_rewrite_rules(self):
        with squall.Dag("rules", optimize=["compete"]) as d:
            d.output(double.options(compete=3)(d.input("x", np.float32)))
        self.assertEqual((d.spec().optimize, d.spec().stages[0].compete), (["compete"], 3))
        with self.assertRaisesRegex(squall.SquallError, "write a list"):
            squall.Dag("rules", optimize="fuse")

    def test_the_same_function_twice_gets_two_names(self):
        with squall.Dag("twice") as d:
            d.output(double(double(d.input("x", np.float32))))
        self.assertEqual([s.name for s in d.spec().stages], ["double", "double-2"])
        self.assertEqual(list(d.functions), ["double"])

    def test_functions_whose_ports_are_not_known_here(self):
        decode = squall.builtin("decode-image")
        with squall.Dag("thumbnail") as d:
            picture = decode(data=d.input("file", bytes))
            d.output(picture.image)
        self.assertEqual(str(d.spec().outputs["image"]), "decode-image.image")


class WrongUse(unittest.TestCase):
    def refused(self, pattern, action):
        with self.assertRaisesRegex(squall.SquallError, pattern) as caught:
            action()
        self.assertEqual(caught.exception.code, Code.INVALID_ARGUMENT)

    def in_dag(self, pattern, action):
        def run():
            with squall.Dag("d") as d:
                action(d, d.input("x", np.float32))

        self.refused(pattern, run)

    def test_messages_name_the_stage_and_the_line(self):
        here = r"stage 'double' of 'd' \(dags_test.py:\d+\)"
        self.in_dag(here + ".*has no input 'z'", lambda d, x: double(z=x))
        self.in_dag(here + ".*the input 'x' of 'double' is missing", lambda d, x: double())
        self.in_dag(here + ".*has 1 inputs", lambda d, x: double(x, x))
        self.in_dag(here + ".*given twice", lambda d, x: double(x, x=x))
        self.in_dag(here + ".*squall.each", lambda d, x: double(split(x)))
        self.in_dag(here + ".*is FP32 .*not a list", lambda d, x: double(squall.each(x)))
        self.in_dag(here + ".*wants FP32 .*is BYTES", lambda d, x: double(tiny(x).text))
        self.in_dag("constant 'by' of stage 'scale'.*not text", lambda d, x: scale(x, "much"))
        self.in_dag("which output of stage 'read-tiny'.*text, confidence", lambda d, x: double(tiny(x)))
        self.in_dag("two stages 'one'", lambda d, x: (double.options(name="one")(x), double.options(name="one")(x)))

    def test_an_unknown_output_says_what_was_meant(self):
        with self.assertRaisesRegex(AttributeError, "did you mean 'confidence'"), squall.Dag("d") as d:
            print(tiny(d.input("x", np.float32)).confidense)

    def test_symbolic_values_are_not_values(self):
        self.in_dag("when", lambda d, x: 1 if tiny(x).confidence < 0.5 else 2)
        self.in_dag("no value yet", lambda d, x: bool(x))
        self.in_dag("squall.each", lambda d, x: list(x))
        self.in_dag("number or text", lambda d, x: x < np.zeros(3))
        self.in_dag("equal to text", lambda d, x: x < "a")
        self.in_dag("wants a condition", lambda d, x: squall.when(x).__enter__())

    def test_dags_are_whole(self):
        self.refused("has no stages", lambda: squall.Dag("d").spec())
        self.in_dag("has no outputs", lambda d, x: (double(x), d.spec()))
        self.in_dag("two inputs 'x'", lambda d, x: d.input("x", np.float32))
        self.in_dag("do not nest", lambda d, x: squall.Dag("e").__enter__())
        self.in_dag("two outputs 'y'", lambda d, x: (d.output(y=x), d.output(y=x)))
        self.refused("cannot name a DAG", lambda: squall.Dag("a b"))
        self.refused("belongs inside", lambda: squall.when(squall.dags.Condition(None, None)).__enter__())

    def test_values_of_another_dag_are_refused(self):
        with squall.Dag("one") as one:
            x = one.input("x", np.float32)
        self.in_dag("another DAG, 'one'", lambda d, _: double(x))
        self.in_dag("another DAG, 'one'", lambda d, _: d.output(y=x))

    def test_functions_outside_of_a_dag(self):
        self.refused("runs in a cluster", lambda: double(3))
        self.refused("options", lambda: double.options(name="a")(3))
        self.refused("no cluster to call", lambda: squall.call("double", {}))


class Decorator(unittest.TestCase):
    def test_types_are_read_from_annotations(self):
        @squall.function
        def greet(name: str, times: int = 1) -> str:
            return f"hello {name} " * times

        self.assertEqual([str(p) for p in greet.inputs], ["BYTES [1]", "INT64 [1]"])
        self.assertEqual([p.name for p in greet.outputs], ["value"])
        self.assertEqual(greet("you"), "hello you ")
        spec, uploads = greet.prepare()
        self.assertEqual(spec.variants[0].parameters, {"type.name": "str", "type.times": "int"})
        self.assertEqual(list(uploads), [spec.variants[0].target])

    def test_settings_become_the_spec(self):
        @squall.function(
            inputs={"x": np.float32},
            outputs={"y": (np.float32, [-1])},
            batched=True,
            max_batch=8,
            max_delay=0.002,
            requirements=["pillow==11.0.0"],
            network=True,
            min_instances=1,
            max_instances=4,
            keep_alive=30,
            repeatable=True,
        )
        class Model:
            def __call__(self, x):
                return x

        spec, _ = Model.prepare()
        wire = spec.to_wire()
        self.assertTrue(wire[6])
        variant = wire[4][0]
        self.assertEqual(variant[4], {"batched": "true", "requirements": "pillow==11.0.0"})
        self.assertEqual(variant[5:7], [8, 2_000_000])
        self.assertEqual(variant[9], [1, 4, 30_000_000_000, 0, 0, 0, 0, 0, True])

    def test_what_cannot_be_a_function(self):
        def nothing(x):
            return x

        def refused(pattern, action):
            with self.assertRaisesRegex(squall.SquallError, pattern):
                action()

        refused("type of the parameter 'x'", lambda: squall.function(nothing))
        refused("outputs of 'nothing'", lambda: squall.function(inputs={"x": float})(nothing))
        refused("no parameter 'z'", lambda: squall.function(inputs={"z": float}, outputs={"y": float})(nothing))
        refused(
            "write a list",
            lambda: squall.function(inputs={"x": float}, outputs={"y": float}, requirements="numpy")(nothing),
        )
        refused(
            "needs batched", lambda: squall.function(inputs={"x": float}, outputs={"y": float}, max_batch=4)(nothing)
        )
        refused("functions and classes", lambda: squall.function(3))
        refused("module:name", lambda: squall.function(entry="nonsense", inputs={}, outputs={}))

    def test_what_cannot_be_pickled_is_named(self):
        import threading

        lock = threading.Lock()

        @squall.function
        def locked(x: int) -> int:
            with lock:
                return x

        with self.assertRaisesRegex(squall.SquallError, "locked cannot be pickled.*__init__"):
            locked.prepare()


if __name__ == "__main__":
    unittest.main()
