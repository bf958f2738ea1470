#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs `corrupt CASE` and `misuse CASE` in the hardened mode and with each block guarded, and compares what they say, and how they end.

usage: modes.py CORRUPT MISUSE [CASE ...]

BSLAB_CONF from outside comes first, so that it can choose the index mode.
"""
import re
import signal
import sys

import misuse
from misuse import line

SMALL, RUN, BLOCKS = 61, 150 * 1024 + 3, 5 * (1 << 20) + 3
ABORT, SEGV, END = -signal.SIGABRT, -signal.SIGSEGV, 0

BEHIND = "bslab: {call} of {block}: what stands behind the block of {size} bytes was written"
BEHIND_UNSIZED = "bslab: {call} of {block}: what stands behind the block was written"
BEFORE = "bslab: {call} of {block}: what stands before the block was written"
WRITTEN = "bslab: write after free of {block}"
FREED = line(misuse.FREED, call="free")
INSIDE = "bslab: invalid free of {byte}: inside a block of {size} bytes at {block}"
NOTHING = "bslab: invalid free of {byte}: freed before, or never allocated"
SIZED = misuse.SIZED


def unsized(call="free of"):
    return ABORT, BEHIND_UNSIZED.replace("{call} of", call)


def behind(size, call="free"):
    return ABORT, line(BEHIND, size=size, call=call)


# How each ends with hardened=yes: the signal and the line, and the end of stdout; or no signal, and what stands on stdout.
HARDENED = {
    "overflow_by_one": behind(SMALL),
    "overflow_by_one_zero": behind(SMALL),
    "overflow_by_one_full": behind(64),
    "overflow_by_eight": behind(SMALL),
    "overflow_aligned": behind(300),
    "overflow_32k": behind(32000),
    "overflow_run": behind(RUN),
    "overflow_run_far": (SEGV, ""),
    "overflow_large": behind(BLOCKS),
    "overflow_large_far": (SEGV, ""),
    "overflow_realloc": behind(SMALL, "realloc"),
    "overflow_after_realloc": behind(SMALL),
    "overflow_after_append": behind(200 * 1024 + 1),
    "overflow_usable_size": behind(SMALL),
    "overflow_read_run": (SEGV, ""),
    "overflow_not_freed": (ABORT, line(BEHIND.replace("{call} of", "exit with"), size=SMALL)),
    "overflow_large_not_freed": (ABORT, line(BEHIND.replace("{call} of", "exit with"), size=BLOCKS)),
    "overflow_zero_word": unsized(),
    "overflow_zero_word_run": unsized(),
    "overflow_zero_word_large": unsized(),
    "overflow_zero_word_not_freed": unsized("exit with"),
    "overflow_zero_word_run_not_freed": unsized("exit with"),
    "overflow_large_handled": (ABORT, line(BEHIND.replace("{call} of", "exit with"), size=BLOCKS), "allocated"),
    "overflow_fork": (ABORT, line(BEHIND.replace("{call} of", "exit with"), size=SMALL), "child 0\nchild 0"),
    "underflow_zero_word": (ABORT, line(BEFORE, call="free")),
    "underflow_by_one": (ABORT, line(BEFORE, call="free")),
    "underflow_by_eight": (ABORT, line(BEFORE, call="free")),
    "underflow_large": (SEGV, ""),
    "write_after_free_small": (ABORT, WRITTEN),
    "write_after_free_4k": (ABORT, WRITTEN),
    "write_after_free_home": (ABORT, WRITTEN),
    "write_after_free_40k_goes": (ABORT, WRITTEN),
    "write_after_free_thread_exit": (ABORT, WRITTEN),
    "write_after_free_40k": (ABORT, WRITTEN),
    "write_after_free_40k_exit": (ABORT, WRITTEN),
    "read_after_free_40k": (END, "read 0"),
    "write_after_free_run": (SEGV, ""),
    "write_after_free_large": (SEGV, ""),
    "write_after_free_exit": (ABORT, WRITTEN),
    "write_after_free_handled": (ABORT, WRITTEN, "allocated"),
    "write_after_free_thread_handled": (ABORT, WRITTEN, "allocated"),
    "write_after_free_reused": (ABORT, WRITTEN),
    "read_after_free_small": (END, "read 0"),
    "read_after_free_run": (SEGV, ""),
    "read_after_free_large": (SEGV, ""),
    "read_after_free_large_reused": (SEGV, ""),
    "double_free_small": (ABORT, misuse.DOUBLE),
    "double_free_run": (ABORT, FREED),
    "double_free_large": (ABORT, FREED),
    "double_free_zero": (ABORT, misuse.DOUBLE),
    "double_free_late": (ABORT, misuse.DOUBLE),
    "realloc_freed": (ABORT, line(misuse.FREED, call="realloc")),
    "usable_size_freed": (ABORT, line(misuse.FREED, call="malloc_usable_size")),
    "interior": (ABORT, line(INSIDE, size=SMALL)),
    "interior_behind_last": (ABORT, NOTHING),
    "interior_zero": (ABORT, line(INSIDE, size=0)),
    "never_allocated": (ABORT, NOTHING),
    "sized_off_by_one": (ABORT, line(SIZED, size=SMALL + 1, align=1, have=SMALL)),
    "sized_zero": (ABORT, line(SIZED, size=100, align=1, have=0)),
    "sized_run": (ABORT, line(SIZED, size=RUN - 1, align=1, have=RUN)),
    "sized_misaligned": (ABORT, line(SIZED, size=SMALL + 11, align=64, have=SMALL + 11)),
    "zero_write": (SEGV, ""),
    "zero_read": (SEGV, ""),
    "uninitialised_small": (END, "sum 0"),
    "uninitialised_run": (END, "sum 0"),
}

OVERFLOW_AT = "bslab: overflow at {byte}: {by} bytes behind a block of {size} bytes at {block}"
OVERFLOW_OF = "bslab: overflow of {block}: byte {by} behind a block of {size} bytes was written"
UNDERFLOW_AT = "bslab: underflow at {byte}: {by} bytes before a block of {size} bytes at {block}"
UNDERFLOW_OF = "bslab: underflow of {block}: byte {by} before a block of {size} bytes was written"
USED = "bslab: use after free at {byte}: {by} bytes into a block of {size} bytes at {block}"


def either(at, of, by, size):
    """Which it is depends on the end of its page at which the block stands: that is drawn."""
    return {SEGV: line(at, by=by, size=size), ABORT: line(of, by=by, size=size)}


def used(size):
    return {SEGV: line(USED, by=size // 2, size=size)}


# With guarded=1, so that each block of up to a page is guarded.
GUARDED = {
    "overflow_by_one": either(OVERFLOW_AT, OVERFLOW_OF, 0, SMALL),
    "overflow_by_one_zero": either(OVERFLOW_AT, OVERFLOW_OF, 0, SMALL),
    "overflow_by_one_full": either(OVERFLOW_AT, OVERFLOW_OF, 0, 64),
    "overflow_by_eight": either(OVERFLOW_AT, OVERFLOW_OF, 8, SMALL),
    "overflow_after_realloc": either(OVERFLOW_AT, OVERFLOW_OF, 0, SMALL),
    "underflow_by_one": either(UNDERFLOW_AT, UNDERFLOW_OF, 1, SMALL),
    "underflow_by_eight": either(UNDERFLOW_AT, UNDERFLOW_OF, 8, SMALL),
    "write_after_free_small": used(SMALL),
    "write_after_free_4k": used(4000),
    "write_after_free_exit": {SEGV: line(USED, by=8, size=SMALL)},
    "read_after_free_small": used(SMALL),
    "double_free_small": {ABORT: misuse.DOUBLE},
    "double_free_late": {ABORT: misuse.DOUBLE},
    "realloc_freed": {ABORT: line(misuse.FREED, call="realloc")},
    "usable_size_freed": {ABORT: line(misuse.FREED, call="malloc_usable_size")},
    "interior": {ABORT: line(INSIDE, size=SMALL)},
    "sized_off_by_one": {ABORT: line(SIZED, size=SMALL + 1, align=1, have=SMALL)},
}
FREED_BY = {"write_after_free_small", "read_after_free_small", "double_free_small", "double_free_late", "realloc_freed"}

# What the hardened mode words otherwise than misuse.py has it: it knows what was asked for, and never waits for a drain.
MISUSE = dict(misuse.CASES)
for name in "interior_small", "interior_odd":
    MISUSE[name] = [line(misuse.INSIDE, call="free", size=200)]
MISUSE["realloc_interior_small"] = [line(misuse.INSIDE, call="realloc", size=200)]
MISUSE["usable_size_interior"] = [line(misuse.INSIDE, call="malloc_usable_size", size=200)]
MISUSE["interior_blocks"] = MISUSE["interior_blocks_first_page"] = [
    line(misuse.INSIDE, call="free", size=5 * misuse.MIB + 4096)]
MISUSE["interior_mapping"] = [line(misuse.INSIDE, call="free", size=512 * misuse.MIB + 4096)]
MISUSE["double_free_mapping"] = [FREED]
MISUSE["sized_too_large"] = [line(SIZED, size=1000, align=1, have=100)]
MISUSE["sized_misaligned"] = [line(SIZED, size=72, align=64, have=72)]
MISUSE["sized_too_small"] = [line(SIZED, size=10, align=1, have=1000)]
MISUSE["sized_run_too_large"] = [line(SIZED, size=200000, align=1, have=100000)]

# Nothing is to be said of these, in any mode.
SOUND = ["sound_locked", "sound_perturbed", "sound_append", "sound_sizes"] + 20 * ["sound_exit_in_handler"] + \
    60 * ["sound_exit_in_handler_larger", "sound_exit_in_handler_slabs"]

total = failures = 0


def expect(good, name, why, run):
    global total, failures
    total += 1
    if not good:
        failures += 1
        print(f"FAIL {name}: {why}\n  status {run.returncode}\n  stdout {run.stdout!r}\n  stderr {run.stderr!r}")


def addresses_of(run):
    return dict(re.findall(r"^(block|byte|pointer) (0x[0-9a-f]+|\(nil\))$", run.stdout, re.M))


def check_hardened(program, case, conf):
    status, text, *said = HARDENED[case]
    run = misuse.start(program, case, conf)
    if status == ABORT:
        lines = run.stderr.splitlines()
        # Once; or again for a handler that comes upon it.
        good = len(set(lines)) == 1 and misuse.matches(text, lines[0], addresses_of(run)) and run.stdout.endswith("".join(said) + "\n")
    elif status == SEGV:
        good = run.stderr == ""
    else:
        good = run.stderr == "" and text in run.stdout.splitlines() and run.stdout.endswith("went on\n")
    expect(run.returncode == status and good, f"{case} [{conf}]", f"not {status} with {text!r}", run)


def check_warned(program, case, conf):
    """What aborts is said and survived; what stays damaged may be said again at the end."""
    status, text = HARDENED[case][:2]
    if status != ABORT:
        return
    run = misuse.start(program, case, conf)
    lines = run.stderr.splitlines()
    good = lines and misuse.matches(text, lines[0], addresses_of(run))
    expect(run.returncode == 0 and run.stdout.endswith("went on\n") and good, f"{case} [{conf}]", f"did not go on after {text!r}", run)


def check_guarded(program, case, conf):
    run = misuse.start(program, case, conf)
    lines = run.stderr.splitlines()
    text = GUARDED[case].get(run.returncode)
    good = text and lines and misuse.matches(text, lines[0], addresses_of(run))
    if not case.startswith("sized"):
        good = good and any(re.match(r"bslab:   allocated by thread \d+:$", l) for l in lines)
        good = good and any(re.match(r"bslab:     \S*corrupt\+0x[0-9a-f]+", l) for l in lines)
    if case in FREED_BY:
        good = good and any(re.match(r"bslab:   freed by thread \d+:$", l) for l in lines)
    expect(good, f"{case} [{conf}]", f"not {GUARDED[case]}", run)


def check_misuse(program, case, conf):
    run = misuse.start(program, case, conf)
    lines = run.stderr.splitlines()
    good = len(lines) == 1 and any(misuse.matches(t, lines[0], addresses_of(run)) for t in MISUSE[case])
    expect(run.returncode == ABORT and good, f"{case} [{conf}]", f"not {MISUSE[case]}", run)


def stack_of(run, head):
    """The lines below one that ends so."""
    lines = run.stderr.splitlines()
    for i, l in enumerate(lines):
        if re.match(rf"bslab:   {head} thread \d+:$", l):
            frames = []
            for l in lines[i + 1:]:
                if not l.startswith("bslab:     "):
                    break
                frames.append(l)
            return frames
    return []


def check_reports(program, conf):
    """Whatever else goes on, a report is whole; on a small stack it is short."""
    for case, heads in (("segv_together", ("accessed by", "allocated by", "freed by")),
                        ("segv_in_dlopen", ("accessed by", "allocated by", "freed by")),
                        ("segv_large_stack", ("accessed by", "allocated by", "freed by")),
                        ("segv_small_stack", ("allocated by", "freed by"))):
        run = misuse.start(program, case, conf)
        lines = run.stderr.splitlines()
        good = run.returncode == SEGV and lines and misuse.matches(line(USED, by=30, size=SMALL), lines[0], addresses_of(run))
        expect(good and all(stack_of(run, h) for h in heads), f"{case} [{conf}]", "not a whole report", run)
        if case == "segv_large_stack":
            expect(len(stack_of(run, "accessed by")) > 2, f"{case} [{conf}]", "not the stack that the signal left", run)


def check_ignored(program, conf):
    """SIGSEGV that is ignored, and sent, stays ignored; the kernel's own does not."""
    for case, status in ("segv_sent", END), ("segv_ignored_exec", END), ("segv_elsewhere", SEGV):
        signal.signal(signal.SIGSEGV, signal.SIG_IGN)
        run = misuse.start(program, case, conf)
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        expect(run.returncode == status, f"ignored {case} [{conf}]", f"not {status}", run)


def check_faults(program, conf):
    """Other faults end as ever, and a handler of the program's own is alone."""
    for case in "segv_elsewhere", "segv_raised":
        run = misuse.start(program, case, conf)
        expect((run.returncode, run.stderr) == (SEGV, ""), f"{case} [{conf}]", "not SIGSEGV alone", run)
    run = misuse.start(program, "segv_handled", conf)
    good = run.returncode == 3 and run.stdout.endswith("own handler\n") and run.stderr == ""
    expect(good, f"segv_handled [{conf}]", "the program's handler was not called", run)


def check_sound(program, case, conf):
    run = misuse.start(program, case, conf)
    good = (run.returncode, run.stderr) == (0, "") and run.stdout.endswith("went on\n")
    expect(good, f"{case} [{conf}]", "not silent to its end", run)


def check_errnos(program, conf):
    run = misuse.start(program, "errnos", conf)
    expect((run.returncode, run.stdout, run.stderr) == (0, misuse.ERRNOS, ""), f"errnos [{conf}]", "not as documented", run)


def main():
    corrupt, other, cases = sys.argv[1], sys.argv[2], set(sys.argv[3:])
    misuse.stay()
    for case in HARDENED:
        if not cases or case in cases:
            check_hardened(corrupt, case, "hardened=yes")
            check_warned(corrupt, case, "hardened=yes,on_error=warn")
    for case in MISUSE:
        if not cases or case in cases:
            check_misuse(other, case, "hardened=yes")
    for case in GUARDED:
        if not cases or case in cases:
            for _ in range(3):
                check_guarded(corrupt, case, "guarded=1")
            check_guarded(corrupt, case, "guarded=1,hardened=yes")
    for case in SOUND:
        if not cases or case in cases:
            for conf in "hardened=yes", "guarded=5", "guarded=1,hardened=yes":
                check_sound(corrupt, case, conf)
    if not cases:
        check_faults(corrupt, "guarded=1")
        check_ignored(corrupt, "guarded=1")
        for conf in "guarded=1", "guarded=1,profile_unwind=frames", "guarded=1,hardened=yes":
            check_reports(corrupt, conf)
        for conf in "hardened=yes", "guarded=1", "guarded=1,hardened=yes":
            check_errnos(other, conf)
    print(f"{total - failures} passed, {failures} failed")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
