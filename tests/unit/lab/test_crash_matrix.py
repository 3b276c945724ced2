"""What the crash matrix writes into its page."""

from __future__ import annotations

from tests.integration import crash


def test_the_row_of_one_command_leaves_those_of_the_others() -> None:
    page = f"before\n{crash.BEGIN}\n{crash.END}\nafter\n"
    first = crash.recorded(page, {"rekey": "| `rekey` | 1 | old |", "move": "| `move` | 1 |"})
    again = crash.recorded(first, {"rekey": "| `rekey` | 2 | new |"})
    assert [line for line in again.splitlines() if line.startswith("| `")] == [
        "| `move` | 1 |",
        "| `rekey` | 2 | new |",
    ]
    assert again.startswith(f"before\n{crash.BEGIN}\n| Command") and again.endswith(f"|\n{crash.END}\nafter\n")
    assert crash.recorded(again, {}) == again
