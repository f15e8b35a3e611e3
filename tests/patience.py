"""How long a test waits for what should come at once: a guard against hangs, never a measure, so
long that the busiest machine does not reach it. Tests that judge time compare two times taken side
by side, or count steps."""

PATIENCE_S = 300
