"""STM32CubeProgrammer's command line (UM2237): -c with its key=value words, -w, -v, -rst, -l."""

import sys

from _strict import fail_if_asked, file_of, listed, note, refuse, say

words = note()
say("      -------------------------------------------------------------------\n"
    "                       STM32CubeProgrammer v2.15.0                  \n"
    "      -------------------------------------------------------------------\n\n")  # fmt: skip
if words == ["-l", "st-link"]:
    say(listed() or "Error: No ST-LINK detected!\n")
    sys.exit(0)
if words[:1] != ["-c"]:
    refuse("does not begin with -c")
connect: dict[str, str] = {}
rest = words[1:]
while rest and "=" in rest[0]:
    key, _, value = rest.pop(0).partition("=")
    connect[key.lower()] = value
if set(connect) - {"port", "sn", "mode", "reset"} or connect.get("port") != "SWD":
    refuse("wrong connection")
if connect.get("mode") == "UR" and connect.get("reset") != "HWrst":
    refuse("UR connection mode is defined with the HWrst reset mode")
if len(rest) != 4 or rest[0] != "-w" or rest[2:] != ["-v", "-rst"]:
    refuse("not: -w FILE -v -rst")
file_of(rest[1], hexadecimal=True)
fail_if_asked()
say(f"ST-LINK SN  : {connect.get('sn', '0')}\nBoard       : NUCLEO-H743ZI2\n\n")
say("Memory Programming ...\nErasing memory corresponding to segment 0:\n"
    "Erasing internal memory sector 0\nDownload in Progress:\n\x1b[32m")  # fmt: skip
for percent in (0, 50, 100):
    say(f"\r[{'=' * (percent // 2):50}] {percent}% ")
say("\x1b[0m\n\nFile download complete\nVerifying ...\n\n\x1b[32mDownload verified successfully "
    "\x1b[0m\n\nMCU Reset\n")  # fmt: skip
