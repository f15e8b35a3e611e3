"""st-flash of stlink 1.7: ``st-flash [options] write FILE ADDRESS``."""

from _strict import fail_if_asked, file_of, note, parse, refuse, say

options, rest = parse(
    note(),
    {"--debug": False, "--reset": False, "--connect-under-reset": False, "--serial": True,
     "--format": True},
)  # fmt: skip
if len(rest) != 3 or rest[0] != "write" or "--reset" not in options:
    refuse("not: --reset write FILE ADDRESS")
if not set(options.get("--serial", "0")) <= set("0123456789abcdefABCDEF"):
    refuse("the serial number is not hexadecimal")
if not rest[2].startswith("0x"):
    refuse("the address is not hexadecimal")
content = file_of(rest[1])
say("st-flash 1.7.0\n2026-01-01T00:00:00 INFO common.c: H74x/H75x: 128 KiB SRAM, 2048 KiB flash\n")
fail_if_asked()
say(f"file {rest[1]} md5 checksum: 0, stlink checksum: 0x{sum(content):08x}\n")
for page in range(1, 5):
    say(f"\r{page:3}/  4 pages written")
say("\n2026-01-01T00:00:00 INFO common.c: Starting verification of write complete\n")
say("2026-01-01T00:00:00 INFO common.c: Flash written and verified! jolly good!\n")
