"""bossac 1.9.1, its long options."""

from _strict import fail_if_asked, file_of, note, parse, refuse, say

options, rest = parse(
    note(),
    {"--port": True, "--usb-port": True, "--offset": True, "--boot": True, "--info": False,
     "--erase": False, "--write": False, "--verify": False, "--reset": False},
    equals=True,
)  # fmt: skip
if len(rest) != 1 or not {"--port", "--erase", "--write", "--reset"} <= set(options):
    refuse("not: --port=PORT --erase --write --reset FILE")
if options["--port"].startswith("/dev/") or options.get("--usb-port") not in ("true", "false"):
    refuse("wrong port")
if options.get("--boot", "1") != "1" or not options.get("--offset", "0x0").startswith("0x"):
    refuse("wrong value")
content = file_of(rest[0])
fail_if_asked()
pages = -(-len(content) // 256)
say(f"Device       : ATSAM3X8\nErase flash\nDone in 0.033 seconds\n\nWrite {len(content)} bytes to "
    f"flash ({pages} pages)\n")  # fmt: skip
for percent in (0, 50, 100):
    say(f"\r[{'=' * (percent * 30 // 100):30}] {percent}% ({pages * percent // 100}/{pages} pages)")
say("\nDone in 0.500 seconds\n\nVerify 1 bytes of flash\nVerify successful\nSet boot flash true\n")
