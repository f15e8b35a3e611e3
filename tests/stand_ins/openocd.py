"""OpenOCD: -f CONFIG, -c 'adapter serial {ID}', -c 'program {FILE} verify reset exit'."""

import re

from _strict import fail_if_asked, file_of, note, refuse, say

words = note()
pairs = [words[at : at + 2] for at in range(0, len(words), 2)]
interface = pairs.pop(0) if re.fullmatch(r"interface/\S+\.cfg", pairs[0][-1]) else None
if pairs[0][-1].startswith("target/") and (interface is None or interface[0] != "-f"):
    refuse("Debug Adapter has to be specified")
if len(pairs) not in (2, 3) or pairs[0][0] != "-f" or not pairs[0][1].endswith(".cfg"):
    refuse("not: -f CONFIG -c COMMAND")
if len(pairs) == 3 and not re.fullmatch(r"adapter serial \{[^{}]+\}", pairs[1][1]):
    refuse("wrong command")
program = re.fullmatch(r"program \{(/[^{}]+\.hex)\} verify reset exit", pairs[-1][1])
if program is None or {pair[0] for pair in pairs[1:]} != {"-c"}:
    refuse("wrong program command")
file_of(program[1], hexadecimal=True)
say("Open On-Chip Debugger 0.12.0\n")
fail_if_asked()
for words_said in ("Programming Started", "Programming Finished", "Verify Started", "Verified OK",
                   "Resetting Target"):  # fmt: skip
    say(f"** {words_said} **\n")
say("shutdown command invoked\n")
