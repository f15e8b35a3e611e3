"""arduino-cli 1.0: ``upload`` of a file, and ``board list``."""

import sys

from _strict import fail_if_asked, file_of, listed, note, parse, refuse, say

words = note()
if words == ["board", "list", "--format", "json"]:
    say(listed() or '{"detected_ports": []}')
    sys.exit(0)
if words[:1] != ["upload"]:
    refuse("neither upload nor board list")
options, rest = parse(words[1:], {"--fqbn": True, "--port": True, "--input-file": True})
if rest or len(options) != 3:
    refuse("not: upload --fqbn F --port P --input-file FILE")
file_of(options["--input-file"])
fail_if_asked()
say(f"Performing 1200-bps touch reset on serial port {options['--port']}\n")
for percent in (0, 30, 100):
    say(f"\r[{'=' * (percent * 30 // 100):30}] {percent}% (1/1 pages)")
say(f"\nNew upload port: {options['--port']} (serial)\n")
