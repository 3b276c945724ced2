"""How long things take, with `ssh HOST true` in the same run as 1: ratios hold, seconds are the machine's mood."""
