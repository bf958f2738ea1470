#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs `misuse CASE` for each misuse and compares what it says, exactly, and how it ends.

usage: misuse.py PROGRAM [CASE ... | caches | heaps | highmem | pages | pools | zones]

Each case runs by default (must abort), with on_error=warn (must say the same and go on), and both again with
check=yes. BSLAB_CONF from outside comes first, so that it can choose the index mode.
"""
import os
import random
import re
import signal
import subprocess
import sys

# {block} and {pointer} stand for the addresses that the program prints, {hex} for any.
DOUBLE = "bslab: double free of {block}"
FREED = "bslab: invalid {call} of {block}: freed before, or never allocated"
INSIDE = "bslab: invalid {call} of {pointer}: inside a block of {size} bytes at {block}"
FOREIGN = "bslab: invalid {call} of {pointer}: not a pointer from bslab"
SIZED = "bslab: sized free of {hex}: asked for {size} bytes aligned to {align}, but the block has {have}"
MIB = 1 << 20


def stay():
    """On one CPU, with all that is started: what was freed twice in a row was freed to one cache, and is told at once."""
    os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})


def line(text, **fields):
    for key, value in fields.items():
        text = text.replace("{%s}" % key, str(value))
    return text


# What by default finds late, when objects come home, the check=yes column may word like a prompt finding.
CASES = {
    "double_free_small": [DOUBLE],
    "double_free_run": [line(FREED, call="free")],
    "double_free_blocks": [line(FREED, call="free")],
    "double_free_mapping": [line(FOREIGN.replace("{pointer}", "{block}"), call="free")],
    "double_free_interleaved": [DOUBLE],
    "double_free_after_trim": [DOUBLE],
    "double_free_slab_gone": [line(FREED, call="free")],
    "double_free_in_thread": [DOUBLE],
    "double_free_after_thread": [DOUBLE],
    "double_free_run_in_thread": [line(FREED, call="free")],
    "realloc_freed_small": [line(FREED, call="realloc")],
    "realloc_freed_run": [line(FREED, call="realloc")],
    "realloc_freed_mapping": [line(FOREIGN.replace("{pointer}", "{block}"), call="realloc")],
    "usable_size_freed": [line(FREED, call="malloc_usable_size")],
    "interior_small": ["bslab: invalid free of {pointer}: not the start of an object",
                       line(INSIDE, call="free", size=208)],
    "interior_odd": ["bslab: invalid free of {pointer}: not the start of an object",
                     line(INSIDE, call="free", size=208)],
    "interior_run": [line(INSIDE, call="free", size=102400)],
    "interior_run_first_page": [line(INSIDE, call="free", size=102400)],
    "interior_blocks": [line(INSIDE, call="free", size=5 * MIB)],
    "interior_blocks_first_page": [line(INSIDE, call="free", size=5 * MIB)],
    "interior_mapping": [line(INSIDE, call="free", size=512 * MIB)],
    "realloc_interior_small": [line(INSIDE, call="realloc", size=208)],
    "realloc_interior_run": [line(INSIDE, call="realloc", size=102400)],
    "usable_size_interior": [line(INSIDE, call="malloc_usable_size", size=208)],
    "stack_pointer": [line(FOREIGN, call="free")],
    "static_pointer": [line(FOREIGN, call="free")],
    "foreign_mapping": [line(FOREIGN, call="free")],
    "foreign_allocator": [line(FOREIGN, call="free")],
    "foreign_allocator_realloc": [line(FOREIGN, call="realloc")],
    "wild_low": [line(FOREIGN, call="free")],
    "wild_high": [line(FOREIGN, call="free")],
    "wild_noncanonical": [line(FOREIGN, call="free")],
    "wild_ours": ["bslab: invalid free of {pointer}: freed before, or never allocated"],
    "realloc_stack": [line(FOREIGN, call="realloc")],
    "sized_too_large": [line(SIZED, size=1000, align=1, have=112)],
    "sized_too_small": [line(SIZED, size=10, align=1, have=1024)],
    "sized_run_too_large": [line(SIZED, size=200000, align=1, have=102400)],
    "sized_misaligned": [line(SIZED, size=72, align=64, have=80)],
    "sized_bad_alignment": ["bslab: sized free of {block}: 0 is no alignment"],
    "sized_odd_alignment": ["bslab: sized free of {block}: 24 is no alignment"],
}

# Of caches.c.
CACHE_FREE = "bslab: invalid bslab_cache_free of {block}: not an object of cache 'a'"
CACHE_OBJECT = "bslab: invalid {call} of {block}: an object of cache 'a'"
DESTROYED = "bslab: {call}: the cache 'a' was destroyed"
CACHE_CASES = {
    "cache_free_of_block": [CACHE_FREE],
    "cache_free_of_run": [CACHE_FREE],
    "cache_free_of_stack": [CACHE_FREE],
    "cache_free_of_other": ["bslab: invalid bslab_cache_free of {block}: an object of cache 'b', not of 'a'"],
    "cache_free_of_merged_size": [CACHE_FREE],
    "cache_bulk_with_block": [CACHE_FREE],
    "cache_free_interior": ["bslab: invalid free of {pointer}: not the start of an object",
                            "bslab: invalid bslab_cache_free of {pointer}: inside an object of cache 'a' at {block}"],
    "cache_double_free": [DOUBLE, DOUBLE + ": an object of cache 'a'"],
    "cache_bulk_double_free": [DOUBLE, DOUBLE + ": an object of cache 'a'"],
    "cache_bulk_free_after_free": [DOUBLE, DOUBLE + ": an object of cache 'a'"],
    "cache_double_free_poisoned": [DOUBLE + ": an object of cache 'a'"],
    "cache_malloc_free": [line(CACHE_OBJECT, call="free")],
    "cache_malloc_realloc": [line(CACHE_OBJECT, call="realloc")],
    "cache_malloc_sized_free": [line(CACHE_OBJECT, call="free")],
    "cache_alloc_after_destroy": [line(DESTROYED, call="bslab_cache_alloc")],
    "cache_free_after_destroy": [line(DESTROYED, call="bslab_cache_free")],
    "cache_bulk_after_destroy": [line(DESTROYED, call="bslab_cache_alloc_bulk")],
    "cache_info_after_destroy": [line(DESTROYED, call="bslab_cache_info")],
    "cache_destroy_twice": [line(DESTROYED, call="bslab_cache_destroy")],
    "cache_zalloc_constructed": ["bslab: bslab_cache_zalloc: objects of cache 'a' are constructed"],
    "cache_grace_of_ordinary": ["bslab: bslab_cache_set_grace: cache 'a' is not type-stable, or a function is missing"],
    "cache_write_after_free": ["bslab: object {block} of cache 'a' was written after its free: at byte 17"],
    "cache_write_beyond": ["bslab: object {block} of cache 'a' was written beyond its 200 bytes: at byte 200"],
}

# Of heaps.c.
HEAP = "bslab: invalid {call} of {block}: not a block of heap 'a'"
HEAP_BLOCK = "bslab: invalid {call} of {block}: a block of heap 'a'"
HEAP_INSIDE = "bslab: invalid bslab_heap_free of {pointer}: inside a block of heap 'a', or behind it"
HEAP_GONE = "bslab: {call}: the heap 'a' was destroyed"
HEAP_CASES = {
    "heap_free_of_malloc": [line(HEAP, call="bslab_heap_free")],
    "heap_free_of_other": ["bslab: invalid bslab_heap_free of {block}: a block of heap 'b', not of 'a'"],
    "heap_free_of_stack": [line(HEAP, call="bslab_heap_free")],
    "heap_double_free": ["bslab: invalid bslab_heap_free of {block}: freed before"],
    "heap_double_free_late": ["bslab: invalid bslab_heap_free of {block}: freed before"],
    "heap_double_free_run": [line(HEAP, call="bslab_heap_free")],
    "heap_interior": [HEAP_INSIDE],
    "heap_interior_run": [HEAP_INSIDE],
    "heap_realloc_of_malloc": [line(HEAP, call="bslab_heap_realloc")],
    "heap_malloc_free": [line(HEAP_BLOCK, call="free")],
    "heap_malloc_free_run": [line(HEAP_BLOCK, call="free")],
    "heap_malloc_free_large": [line(HEAP_BLOCK, call="free")],
    "heap_malloc_realloc": [line(HEAP_BLOCK, call="realloc")],
    "heap_after_destroy": [line(FREED, call="free")],
    "heap_destroy_twice": [line(HEAP_GONE, call="bslab_heap_destroy")],
    "heap_alloc_after_destroy": [line(HEAP_GONE, call="bslab_heap_alloc")],
    "heap_free_after_destroy": [line(HEAP_GONE, call="bslab_heap_free")],
    "heap_info_after_destroy": [line(HEAP_GONE, call="bslab_heap_info")],
}
# Of pages.c.
PAGES = "bslab: invalid {call} of {block}: not a run of pages"
PAGES_INSIDE = "bslab: invalid {call} of {pointer}: inside a run of 8 pages at {block}"
PAGES_RUN = "bslab: invalid {call} of {block}: in a run of pages at {block}"
PAGES_CASES = {
    "pages_free_of_malloc": [line(PAGES, call="bslab_pages_free")],
    "pages_free_of_object": [line(PAGES, call="bslab_pages_free")],
    "pages_free_of_stack": [line(PAGES, call="bslab_pages_free")],
    "pages_interior": [line(PAGES_INSIDE, call="bslab_pages_free")],
    "pages_interior_first_page": [line(PAGES_INSIDE, call="bslab_pages_free")],
    "pages_double_free": [line(PAGES, call="bslab_pages_free")],
    "pages_double_free_of_one": [line(PAGES, call="bslab_pages_free")],
    "pages_double_free_in_bulk": [line(PAGES, call="bslab_pages_free")],
    "pages_double_free_of_kept": [line(PAGES, call="bslab_pages_free")],
    "pages_interior_of_one": ["bslab: invalid bslab_pages_free of {pointer}: inside a run of 1 pages at {block}"],
    "pages_malloc_free_of_freed": ["bslab: invalid free of {block}: freed before, or never allocated"],
    "pages_get_freed": [line(PAGES, call="bslab_folio_get")],
    "pages_split_interior": [line(PAGES_INSIDE, call="bslab_pages_split")],
    "pages_malloc_free": [line(PAGES_RUN, call="free")],
    "pages_malloc_realloc": [line(PAGES_RUN, call="realloc")],
}
# Of pools.c.
POOL_FREE = "bslab: invalid bslab_mempool_free of {%s}: freed before, or inside an element"
RESERVE_FREE = "bslab: invalid free of {%s}: freed before, or inside a block of 128 bytes of a NOWAIT pool"
POOL_CASES = {
    "pool_double_free": [POOL_FREE % "block"],
    "pool_interior": [POOL_FREE % "pointer"],
    "pool_free_of_other": ["bslab: invalid bslab_mempool_free of {block}: another mempool's"],
    "pool_free_of_stack": [line(FOREIGN.replace("{pointer}", "{block}"), call="free")],
    "pool_malloc_free": ["bslab: invalid free of {block}: an element of pool 'mempool'"],
    "pool_malloc_realloc": ["bslab: invalid realloc of {block}: an element of pool 'mempool'"],
    "pool_zone_realloc_interior": ["bslab: invalid realloc of {pointer}: inside a block of zone DMA32, or behind it"],
    "pool_movable_free_within": ["bslab: invalid bslab_movable_free of {block}: from within the function that moves it"],
    "pool_krealloc_of_stack": [line(FOREIGN.replace("{pointer}", "{block}"), call="krealloc")],
    "pool_reserve_double_free": [RESERVE_FREE % "block"],
    "pool_reserve_interior": [RESERVE_FREE % "pointer"],
    "pool_destroy_twice": ["bslab: bslab_mempool_destroy: the mempool was destroyed"],
    "pool_shrinker_twice": ["bslab: bslab_shrinker_unregister: the shrinker 'a' was unregistered"],
    "pool_alloc_after_destroy": ["bslab: bslab_mempool_alloc: the mempool was destroyed"],
}

# Of highmem.c.
HIGHMEM_FREED = "bslab: invalid {call} of {block}: freed before, or never allocated"
HIGHMEM_CASES = {
    "highmem_double_free": [line(HIGHMEM_FREED, call="bslab_highmem_free")],
    "highmem_map_freed": [line(HIGHMEM_FREED, call="bslab_highmem_map")],
    "highmem_map_of_other": ["bslab: invalid bslab_highmem_map of {block}: no handle of pool 'b'"],
    "highmem_unmap_twice": ["bslab: invalid bslab_highmem_unmap of {block}: it is not mapped"],
    "highmem_free_mapped": ["bslab: invalid bslab_highmem_free of {block}: it is mapped"],
    "highmem_free_mapped_of_many": ["bslab: invalid bslab_highmem_free of {block}: it is mapped"],
    "highmem_unmap_of_neighbour": ["bslab: invalid bslab_highmem_unmap of {block}: it is not mapped"],
    "highmem_size_of_freed": [line(HIGHMEM_FREED, call="bslab_highmem_size")],
    "highmem_free_of_address": [line(FOREIGN, call="free")],
    "highmem_destroy_twice": ["bslab: bslab_highmem_destroy: the pool 'a' was destroyed"],
    "highmem_alloc_after_destroy": ["bslab: bslab_highmem_alloc: the pool 'a' was destroyed"],
}

# Of zones.c.
ZONE_INSIDE = "bslab: invalid {call} of {pointer}: inside a block of zone DMA32, or behind it"
CONTIG = "bslab: invalid bslab_contig_free of {%s}: not a range of the contiguous reserve"
MOVABLE = "bslab: invalid bslab_movable_free of {block}: "
IN_MOVABLE = "bslab: invalid {call} of {block}: in a movable run at {block}"
ZONE_CASES = {
    "zone_double_free": [line(FREED, call="free")],
    "zone_interior": [line(ZONE_INSIDE, call="free")],
    "zone_realloc_of_freed": [line(FREED, call="realloc")],
    "zone_heap_free": ["bslab: invalid bslab_heap_free of {block}: a block of heap 'DMA32', not of 'h'"],
    "zone_small_double_free": [DOUBLE],
    "zone_small_realloc_interior": [line(INSIDE, call="realloc", size=208)],
    "zone_small_heap_free": ["bslab: invalid bslab_heap_free of {block}: not a block of heap 'h'"],
    "zone_contig_double_free": [CONTIG % "block"],
    "zone_contig_interior": [CONTIG % "pointer"],
    "zone_contig_malloc_free": ["bslab: invalid free of {pointer}: in a range of the contiguous reserve at {block}"],
    "zone_movable_double_free": [MOVABLE + "not a movable run"],
    "zone_movable_malloc_free": [line(IN_MOVABLE, call="free")],
    "zone_movable_realloc": [line(IN_MOVABLE, call="realloc")],
    "zone_movable_pages_free": ["bslab: invalid bslab_pages_free of {block}: not a run of pages"],
    "zone_movable_free_within": [MOVABLE + "from within the function that moves it"],
}

SETS = {"highmem": HIGHMEM_CASES, "zones": ZONE_CASES, "pools": POOL_CASES, "caches": CACHE_CASES, "heaps": HEAP_CASES,
        "pages": PAGES_CASES}
ALL_CASES = {**CASES, **HIGHMEM_CASES, **CACHE_CASES, **HEAP_CASES, **PAGES_CASES, **POOL_CASES, **ZONE_CASES}

ERRNOS = """malloc NULL ENOMEM
malloc NULL ENOMEM
calloc NULL ENOMEM
realloc NULL ENOMEM
reallocarray NULL ENOMEM
aligned_alloc NULL EINVAL
aligned_alloc NULL EINVAL
memalign NULL EINVAL
pvalloc NULL ENOMEM
posix_memalign EINVAL
posix_memalign ENOMEM
malloc(0) pointer 0
went on
"""

OPTIONS = {
    "index=numa": "bslab: BSLAB_CONF: bad value 'numa' for 'index'",
    "colour=red": "bslab: BSLAB_CONF: unknown option 'colour'",
    "region=3M": "bslab: BSLAB_CONF: bad value '3M' for 'region'",
    "dirty=99999999999999999999": "bslab: BSLAB_CONF: bad value '99999999999999999999' for 'dirty'",
    "check": "bslab: BSLAB_CONF: bad value '' for 'check'",
}

failures = 0
total = 0


def fail(name, why, run):
    global failures
    failures += 1
    print(f"FAIL {name}: {why}\n  status {run.returncode}\n  stdout {run.stdout!r}\n  stderr {run.stderr!r}")


def stack_of(pid):
    try:
        command = ["gdb", "-batch", "-nx", "-ex", "thread apply all backtrace 30", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)


def start(program, case, conf):
    base = os.environ.get("BSLAB_CONF", "")
    env = dict(os.environ, BSLAB_CONF=",".join(filter(None, [base, conf])))
    command = [program, case]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            where = stack_of(process.pid)
            process.kill()
            out, err = process.communicate()
            err += f"did not end; it stood at\n{where}"
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def matches(template, text, addresses):
    pattern = re.escape(template).replace(r"\{hex\}", "0x[0-9a-f]+")
    for name, address in addresses.items():
        pattern = pattern.replace(r"\{%s\}" % name, address)
    return re.fullmatch(pattern, text)


def check_misuse(program, case, conf):
    global total
    total += 1
    run = start(program, case, conf)
    name = f"{case} [{conf}]"
    warn = "on_error=warn" in conf
    addresses = dict(re.findall(r"^(block|pointer) (0x[0-9a-f]+|\(nil\))$", run.stdout, re.M))
    lines = run.stderr.splitlines()
    if not lines or not run.stderr.endswith("\n"):
        return fail(name, "no line on stderr", run)
    expected = ALL_CASES[case]
    if not any(matches(t, lines[0], addresses) for t in expected):
        return fail(name, f"the line is not {expected}", run)
    if len(lines) != 1 and not (warn and case == "interior_odd"):
        return fail(name, "more than one line", run)
    if warn and (run.returncode != 0 or not run.stdout.endswith("went on\n")):
        return fail(name, "did not go on", run)
    if not warn and run.returncode != -signal.SIGABRT:
        return fail(name, "was not ended by SIGABRT", run)
    if "got a block" in run.stdout:
        return fail(name, "gave a block for a bad pointer", run)


def check_options(program):
    global total
    for conf, message in OPTIONS.items():
        total += 2
        run = start(program, "nothing", conf)
        if run.returncode != -signal.SIGABRT or run.stderr != message + "\n":
            fail(conf, f"not {message!r} and SIGABRT", run)
        run = start(program, "nothing", "on_error=warn," + conf)
        if run.returncode != 0 or run.stderr != message + "\n" or run.stdout != "went on\n":
            fail(conf, f"not {message!r} and on", run)


def main():
    global total
    program, cases = sys.argv[1], sys.argv[2:] or list(CASES)
    stay()
    if len(cases) == 1:
        cases = list(SETS.get(cases[0], cases))
    for case in cases:
        for conf in "", "on_error=warn", "check=yes", "check=yes,on_error=warn":
            check_misuse(program, case, conf)
    if len(sys.argv) == 2:
        check_options(program)
        total += 2
        for conf in "", "check=yes":
            run = start(program, "errnos", conf)
            if (run.returncode, run.stdout, run.stderr) != (0, ERRNOS, ""):
                fail("errnos", "not as documented", run)
    print(f"{total - failures} passed, {failures} failed")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
