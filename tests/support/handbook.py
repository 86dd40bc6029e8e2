"""The commands of docs/operations.md, for tests that run them."""

import re
import textwrap

from tests.support.deployment import ROOT


def commands(heading: str) -> list[str]:
    """Return the blocks of commands under a heading, in order."""
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    section = re.search(rf"(?ms)^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text)
    assert section is not None, heading
    blocks = re.findall(r"(?m)(?:^    \S.*\n)+", section[1])
    return [textwrap.dedent(block) for block in blocks]
