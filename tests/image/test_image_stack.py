"""The stack bound: right on small programs, and an error wherever it could not be proved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyrobust import boards
from tinyrobust.errors import BuildError
from tinyrobust.image import compilers, stack
from tinyrobust.image.elf import Elf
from tinyrobust.image.objects import Source, compile_all

HEAD = """
extern "C" { extern volatile int sink; volatile int sink; }
#define KEEP __attribute__((noinline, noclone))
"""


def bound(tmp_path: Path, text: str, *, flags: tuple[str, ...] = ("-O1",)) -> stack.Bound:
    """Bound of a program whose entry is main()."""
    (tmp_path / "x.cpp").write_text(HEAD + text)
    compiler = compilers.for_board(boards.load("mps2-an500"))
    source = Source(tmp_path / "x.cpp", "test/x.cpp", flags)
    objects = compile_all([source], compiler, [], tmp_path / "objects")
    elf = tmp_path / "x.elf"
    arguments = [*compiler.link_flags, "-Wl,-e,main", str(objects[0].path), "-lgcc", "-o", str(elf)]
    compiler.run(arguments, tmp_path, "the link")
    return stack.bound(Elf(elf), objects)


def test_a_chain_adds_up(tmp_path: Path) -> None:
    found = bound(tmp_path, """
    KEEP void leaf() { volatile char a[400]; a[0] = 1; sink = a[0]; }
    KEEP void middle() { volatile char a[200]; a[0] = 1; leaf(); sink = a[0]; }
    KEEP void other() { volatile char a[500]; a[0] = 1; sink = a[0]; }
    int main() { middle(); other(); return 0; }
    """)  # fmt: skip
    assert found.path == ("main", "middle", "leaf", "fault")
    frames = found.bytes - stack.EXCEPTION_BYTES
    assert 600 <= frames <= 600 + 3 * 24  # arrays, and at most a few saved registers each


def test_the_worst_branch_counts(tmp_path: Path) -> None:
    found = bound(tmp_path, """
    KEEP void small() { volatile char a[8]; a[0] = 1; sink = a[0]; }
    KEEP void large() { volatile char a[900]; a[0] = 1; sink = a[0]; }
    int main() { if (sink) small(); else large(); return 0; }
    """)  # fmt: skip
    assert found.path == ("main", "large", "fault")


def test_recursion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"recursion: (even > odd|odd > even) > "):
        bound(tmp_path, """
        KEEP int odd(int n);
        KEEP int even(int n) { sink = n; return n ? odd(n - 1) + 1 : 1; }
        KEEP int odd(int n) { sink = n; return n ? even(n - 1) + 2 : 0; }
        int main() { return even(sink); }
        """)  # fmt: skip


def test_a_frame_of_unknown_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"grow\(\) has a stack frame of unknown size"):
        bound(tmp_path, """
        KEEP void grow(int n) {
          volatile char* p =
              static_cast<volatile char*>(__builtin_alloca(static_cast<unsigned>(n)));
          p[0] = 1;
          sink = p[0];
        }
        int main() { grow(sink); return 0; }
        """)  # fmt: skip


def test_an_indirect_call_that_nobody_declared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"the address of callback\(\) is taken"):
        bound(tmp_path, """
        KEEP void callback() { sink = 1; }
        void (*volatile target)() = callback;
        int main() { target(); return 0; }
        """)  # fmt: skip


def test_a_caller_that_nobody_declared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"main\(\) makes an indirect call"):
        bound(tmp_path, """
        void (*volatile target)();
        int main() { target(); return 0; }
        """)  # fmt: skip


def test_every_target_of_a_family_counts(tmp_path: Path) -> None:
    """``tr_invoke`` may call every step and every hook, whichever its pointers hold."""
    found = bound(tmp_path, """
    KEEP void layer00_run() { volatile char a[100]; a[0] = 1; sink = a[0]; }
    KEEP void layer01_run() { volatile char a[700]; a[0] = 1; sink = a[0]; }
    KEEP void time_step() { volatile char a[300]; a[0] = 1; sink = a[0]; }
    void (*const volatile steps[])() = {layer00_run, layer01_run};
    void (*volatile hook)() = time_step;
    extern "C" KEEP void tr_invoke() { steps[sink](); hook(); }
    int main() { tr_invoke(); return 0; }
    """)  # fmt: skip
    assert found.path == ("main", "tr_invoke", "layer01_run", "fault")


def test_library_functions_are_read_from_their_instructions(tmp_path: Path) -> None:
    """A 64-bit division calls libgcc, which has no call graph of its own."""
    found = bound(tmp_path, """
    extern "C" { extern volatile unsigned long long big; volatile unsigned long long big = 7; }
    KEEP unsigned long long divide() { return big / static_cast<unsigned long long>(sink); }
    int main() { return static_cast<int>(divide()); }
    """)  # fmt: skip
    assert found.path[:3] == ("main", "divide", "__aeabi_uldivmod")
    assert found.path[3] == "__udivmoddi4"
    assert found.bytes >= stack.EXCEPTION_BYTES + 32  # __udivmoddi4 saves r4-r11 and lr at least
