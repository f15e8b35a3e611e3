"""st-info of stlink 1.7: ``st-info --probe``."""

from _strict import listed, note, parse, refuse, say

options, rest = parse(note(), {"--probe": False})
if rest or not options:
    refuse("not: --probe")
say(listed() or "Found 0 stlink programmers\n")
