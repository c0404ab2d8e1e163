"""The judge sees what is wrong."""

import unittest

from causal import Judge, Wrong, name_of, same


class Judging(unittest.TestCase):
    def setUp(self):
        self.judge = Judge()
        self.judge.said("ann-1", [])
        self.judge.said("bob-1", ["ann-1"])
        self.judge.said("eve-1", ["ann-1", "bob-1"])
        self.judge.said("raj-1", [])

    def test_every_order_that_respects_causes_passes(self):
        for order in (["ann-1", "bob-1", "eve-1", "raj-1"], ["raj-1", "ann-1", "bob-1", "eve-1"],
                      ["ann-1", "raj-1", "bob-1"]):
            self.judge.check("x", order)
        self.judge.check("x", ["eve-1"], known={"ann-1", "bob-1"})

    def test_an_answer_before_its_question_is_wrong(self):
        for order in (["bob-1", "ann-1"], ["ann-1", "eve-1", "bob-1"], ["bob-1"]):
            with self.assertRaisesRegex(Wrong, "before"):
                self.judge.check("x", order)

    def test_twice_and_from_nowhere_are_wrong(self):
        with self.assertRaisesRegex(Wrong, "twice"):
            self.judge.check("x", ["ann-1", "raj-1", "ann-1"])
        with self.assertRaisesRegex(Wrong, "nobody"):
            self.judge.check("x", ["mia-1"])

    def test_what_was_lost_is_no_cause_and_must_not_be_told(self):
        self.judge.forget({"bob-1"})
        self.judge.check("x", ["ann-1", "eve-1"])
        with self.assertRaisesRegex(Wrong, "nobody"):
            self.judge.check("x", ["ann-1", "bob-1"])

    def test_orders_are_compared_to_their_ends(self):
        same("x", ["a", "b"], ["a", "b"])
        for told in (["a"], ["b", "a"], ["a", "b", "c"], []):
            with self.assertRaises(Wrong):
                same("x", told, ["a", "b"])

    def test_names_are_found_at_the_end_of_lines(self):
        for line, name in (("Ann : ann-1 answers nobody", "ann-1"), ("bob-12 answers ann-1", "bob-12"),
                           ('Bob : (to Ann: "ann-1 answers nobody") bob-2 answers ann-1', "bob-2"),
                           ("Ann joined the chatroom", None), ("", None)):
            self.assertEqual(name_of(line), name)


if __name__ == "__main__":
    unittest.main()
