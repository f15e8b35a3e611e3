"""dfu-util 0.11: -d, -a, -S, -s ADDRESS:leave, -D; and -l."""

import re
import sys

from _strict import fail_if_asked, file_of, listed, note, parse, refuse, say

words = note()
say("dfu-util 0.11\n\nCopyright 2005-2009 Weston Schmidt, Harald Welte and OpenMoko Inc.\n\n")
if words == ["-l"]:
    say(listed())
    sys.exit(0)
options, rest = parse(words, {"-d": True, "-a": True, "-S": True, "-s": True, "-D": True})
if rest or not {"-d", "-a", "-s", "-D"} <= set(options):
    refuse("not: -d ID -a ALT -s ADDRESS:leave -D FILE")
if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", options["-d"]) or not options["-a"].isdigit():
    refuse("wrong device or alternate setting")
if not re.fullmatch(r"0x[0-9a-f]{8}:leave", options["-s"]):
    refuse("wrong address")
content = file_of(options["-D"])
fail_if_asked()
say("Opening DFU capable USB device...\nDFU mode device DFU version 011a\n")
for what in ("Erase   ", "Download"):
    for percent in (0, 50, 100):
        say(f"\r{what}\t[{'=' * (percent // 4):25}] {percent:3}% {len(content):12} bytes")
    say(f"\n{what.strip()}    done.\n")
say("File downloaded successfully\nSubmitting leave request...\n")
say("dfu-util: Error during download get_status\n")
sys.exit(74)  # as it does when the boot loader has left before it answered
