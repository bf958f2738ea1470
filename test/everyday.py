#!/usr/bin/env python3
"""everyday.py [--list|--window] LIBRARY PROGRAM [ARGUMENT...]: what of the library a process runs with it preloaded.

Fails when the process runs functions that preload/everyday.ld does not keep together, or touches more pages of the
library's code and constants than it should, or where the library has initialized variables. All repeat from run to run, which what is resident need not: the kernel
maps windows of 64 KiB around faults. With --window, when it runs functions that are not in the first of these.

--list prints the functions that ran, in the order in which they ran first, one a line. x86-64, a process that neither
forks nor makes threads. Skipped where ptrace() is refused.
"""
import collections
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile

# Seen: at most 387, and 18 to 26. Other versions of gcc may have other functions.
MAX_STRAY_BYTES = 1024  # functions that ran and stand elsewhere
MAX_PAGES = 26  # 39 where functions stand in the order of the files
MIN_FUNCTIONS = 50  # fewer: the library did nothing
WINDOW = 64 << 10  # what Linux maps around a fault, unless it is told otherwise

PTRACE_TRACEME, PTRACE_CONT, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_SYSCALL, PTRACE_SETOPTIONS = 0, 7, 12, 13, 24, 0x4200
PTRACE_O_TRACEEXIT, PTRACE_O_EXITKILL, PTRACE_EVENT_EXIT = 1 << 6, 1 << 20, 6
RIP = 16  # in struct user_regs_struct
PAGE = 4096

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long

Function = collections.namedtuple("Function", "name size")


def lines_of(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def functions(library):
    """Address to function, of each name that is one."""
    found = {}
    for line in lines_of("nm", "-S", library):
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tT":
            found[int(fields[0], 16)] = Function(fields[3], int(fields[1], 16))
    return found


def sections(library, name):
    """Ranges of addresses of those whose names begin so."""
    found = []
    for line in lines_of("readelf", "-SW", library):
        fields = line.partition("]")[2].split()
        if fields and fields[0].startswith(name):
            start = int(fields[2], 16)
            found.append(range(start, start + int(fields[4], 16)))
    return found


class Process:
    """The command with the library preloaded, stopped before the library's first instruction."""

    def __init__(self, library, command):
        self.pid = os.fork()
        if not self.pid:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.environ["LD_PRELOAD"] = library
            if libc.ptrace(PTRACE_TRACEME, 0, None, None) == 0:
                os.execvp(command[0], command)
            os._exit(77)
        if not os.WIFSTOPPED(os.waitpid(self.pid, 0)[1]):
            print(f"skip: {command[0]} cannot be traced")
            sys.exit(77)
        self.library = library
        self.trace(PTRACE_SETOPTIONS, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL)
        while not (mapping := self.code()):
            if not self.go_on(PTRACE_SYSCALL):
                sys.exit("FAIL: the library was not loaded")
        self.base, self.end = mapping
        self.memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)

    def trace(self, request, data):
        if libc.ptrace(request, self.pid, None, data):
            raise OSError(ctypes.get_errno(), "ptrace")

    def go_on(self, request=PTRACE_CONT, number=0):
        """Until the next stop: its status; or None, when it has ended."""
        self.trace(request, number)
        status = os.waitpid(self.pid, 0)[1]
        if os.WIFSTOPPED(status):
            return status
        if status:
            sys.exit(f"FAIL: the process ended with status {status:#x}")
        return None

    def code(self):
        for line in open(f"/proc/{self.pid}/maps"):
            fields = line.split()
            if fields[-1] == self.library and "x" in fields[1]:
                return tuple(int(address, 16) for address in fields[0].split("-"))
        return None

    def functions_run(self, known):
        """Addresses in the order in which each ran first: a trap stands in each until then."""
        first_bytes = {}
        for address in known:
            first_bytes[address] = os.pread(self.memory, 1, self.base + address)
            os.pwrite(self.memory, b"\xcc", self.base + address)
        ran, registers, number = [], (ctypes.c_ulonglong * 27)(), 0
        while status := self.go_on(number=number):
            number = os.WSTOPSIG(status)
            if status >> 16:
                number = 0
            elif number == signal.SIGTRAP:
                self.trace(PTRACE_GETREGS, registers)
                address = registers[RIP] - 1 - self.base
                if address in first_bytes:
                    ran.append(address)
                    os.pwrite(self.memory, first_bytes.pop(address), self.base + address)
                    registers[RIP] -= 1
                    self.trace(PTRACE_SETREGS, registers)
                    number = 0
        return ran

    def pages_touched(self):
        """Of its code and constants: all are mapped here, and marked as not yet accessed."""
        size = min(self.end - self.base, os.path.getsize(self.library))  # at first the mapping ends where .bss will
        for address in range(self.base, self.base + size, PAGE):
            os.pread(self.memory, 1, address)
        with open(f"/proc/{self.pid}/clear_refs", "w") as clear:
            clear.write("1")
        touched, number = 0, 0
        while status := self.go_on(number=number):
            number = 0 if status >> 16 else os.WSTOPSIG(status)
            if status >> 16 == PTRACE_EVENT_EXIT:
                touched = self.referenced()
        return touched // PAGE

    def referenced(self):
        inside = False
        for line in open(f"/proc/{self.pid}/smaps"):
            fields = line.split()
            if "-" in fields[0]:
                inside = fields[-1] == self.library and "x" in fields[1]
            elif inside and fields[0] == "Referenced:":
                return int(fields[1]) * 1024
        return 0


def main():
    arguments = sys.argv[1:]
    option = arguments.pop(0) if arguments[:1] in (["--list"], ["--window"]) else None
    if len(arguments) < 2:
        sys.exit(__doc__)
    library, command = os.path.realpath(arguments[0]), arguments[1:]
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # what a process has on two CPUs depends on when it moves
    known = functions(library)
    ran = Process(library, command).functions_run(known)
    if option == "--list":
        for address in ran:
            print(known[address].name)
        return
    together = [range(WINDOW)] if option == "--window" else sections(library, ".text.everyday")
    strays = [known[address] for address in ran if not any(address in section for section in together)]
    with tempfile.TemporaryDirectory() as directory:  # a file that no other process has mapped
        copy = shutil.copy(library, directory)
        # The kernel may mark more of it as accessed, when it looks for memory to reclaim.
        each = [Process(copy, command).pages_touched() for _ in range(3)]
        pages = min(each)
    size = sum(function.size for function in strays)
    print(f"{len(ran)} functions ran, {len(strays)} of them, of {size} bytes, elsewhere; {pages} pages were touched")
    for function in strays:
        print(f"  elsewhere: {function.size:5} {function.name}")
    if len(ran) < MIN_FUNCTIONS or not all(each):
        sys.exit(f"FAIL: {len(ran)} functions, pages {each}: not measured")
    if any(len(section) for section in sections(library, ".data") if section not in sections(library, ".data.rel.ro")):
        sys.exit("FAIL: the library has a .data, of which each process copies a page")
    if size > MAX_STRAY_BYTES:
        sys.exit(f"FAIL: at most {MAX_STRAY_BYTES} bytes elsewhere: into preload/everyday.ld?")
    if pages > MAX_PAGES:
        sys.exit(f"FAIL: at most {MAX_PAGES} pages")


main()
