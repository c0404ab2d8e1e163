"""Judges what the clients of a room were told, by the texts alone.

A text is said once, by one client, which had been told others before: these are its causes. Nothing here knows a
position, a clock or a dependency of the program under test.
"""

import re
from dataclasses import dataclass, field

TEXT = re.compile(r"(\w+-\d+) answers (\w+-\d+|nobody)$")


class Wrong(Exception):
    """What a client was told cannot be."""


def name_of(line):
    """The name of the text at the end of a line, `ann-3` of `Ann : ann-3 answers bob-2`; None of other lines."""
    found = TEXT.search(line)
    return found and found[1]


@dataclass
class Judge:
    # What its author had been told or had said before it, by the name of the text.
    causes: dict[str, frozenset[str]] = field(default_factory=dict)

    def said(self, name, before):
        if name in self.causes:
            raise Wrong(f"{name} was said twice: that is a mistake of this test")
        self.causes[name] = frozenset(before)

    def forget(self, lost):
        """These have reached nobody but their author."""
        for name in lost:
            del self.causes[name]
        self.causes = {name: causes - lost for name, causes in self.causes.items()}

    def check(self, who, told, known=frozenset()):
        """`told` may be shown in this order to somebody who knows `known` already."""
        before = set(known)
        for name in told:
            if name not in self.causes:
                raise Wrong(f"{who} was told {name}, which nobody has said")
            if name in before:
                raise Wrong(f"{who} was told {name} twice")
            missing = self.causes[name] - before
            if missing:
                raise Wrong(f"{who} was told {name} before {', '.join(sorted(missing))}, which its author knew")
            before.add(name)


def same(who, told, expected):
    """Exactly these, in this order."""
    if told == expected:
        return
    at = next((n for n, (a, b) in enumerate(zip(told, expected)) if a != b), min(len(told), len(expected)))
    raise Wrong(f"{who}: from the {at}th on it is {told[at:at + 5]}, and should be {expected[at:at + 5]}"
                f" ({len(told)} and {len(expected)} in all)")
