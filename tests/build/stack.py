#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stack.py NAME INCLUDE FOLDER COMPILER... - the stack of each public function of the headers in
INCLUDE, the deepest path of its call graph, as the compiler tells it (gcc's -fcallgraph-info). What is
inline stays so in one function of its own for each. The host's hooks do not count.

Fails where one takes more than LIMIT bytes or an amount that is not fixed, where functions call each
other in a circle, and at a call to anything but the host (so nothing is allocated).

stack.py --self-test ...: the same with functions in each of which it must find a fault."""
import os
import re
import subprocess
import sys

LIMIT = 512
HOST = re.compile(r"flushq_host_\w+|flushq_sbi_ecall|mem(cpy|set|move|cmp)")
# The atomic operations and what is behind them are no functions everywhere.
PRIVATE = re.compile(r"flushq_(priv|arch|host|riscv|load|store|cas|swap|or|and|fence)_|flushq_sbi_ecall$")
# Calls through a pointer, by the header they are in: the library's own callee, or None: the host's.
POINTERS = {"asid.h": "flushq_priv_rollover", "ticket.h": None}

FAULTS = """
static inline int flushq_x_circle(int n) { return n < 2 ? n : flushq_x_circle(n - 1) * n + flushq_x_circle(n - 2); }
void flushq_x_see(volatile char *p);
static inline void flushq_x_dynamic(int n) { volatile char a[n]; a[0] = 1; a[n - 1] = a[0]; }
/* Some of it below the stack pointer, where that may be. */
static inline void flushq_x_deep(void) { volatile char a[LIMIT]; a[0] = 1; a[LIMIT - 1] = a[0]; }
void *malloc(unsigned long);
static inline void *flushq_x_allocates(void) { return malloc(8); }
static inline void flushq_x_pointer(void (*call)(void)) { call(); call(); }
""".replace("LIMIT", str(LIMIT + 128))


def compile_unit(compiler, include, text, path, *more):
    with open(path, "w") as f:
        f.write(text)
    subprocess.run([*compiler, "-std=gnu11", "-O2", "-ffreestanding", "-fno-stack-protector", "-w",
                    f"-I{include}", *more, "-c", path, "-o", os.devnull], check=True)


def wrappers(aux):
    """A function around each public one, by the compiler's own list of prototypes."""
    text, seen = "", set()
    for line in open(aux):
        found = re.match(r"/\* .*/(?:flushq/|stack\.)\S* \*/ static (.*?)(flushq_\w+) \((.*?)\); /\*", line)
        if not found or PRIVATE.match(found[2]) or found[2] in seen:
            continue
        kind, name, args = found.groups()
        seen.add(name)
        parts, depth = [""], 0
        for c in args:
            depth += (c == "(") - (c == ")")
            if c == "," and depth == 0:
                parts.append("")
            else:
                parts[-1] += c
        names = [re.search(r"\(\*(\w+)\)|(\w+)$", p.strip()) for p in parts if args != "void"]
        names = [n[1] or n[2] for n in names]
        returns = "" if kind.strip() in ("void", "inline void") else "return "
        kind = kind.replace("inline ", "")
        text += f"{kind} stack_{name}({args});\n"
        text += f"{kind} stack_{name}({args})\n"
        text += f"{{ {returns}{name}({', '.join(names)}); }}\n"
    return text


def read_graph(path):
    """Function: bytes, whether they are fixed, and what it calls, where."""
    size, calls = {}, {}
    for line in open(path):
        node = re.match(r'node: { title: "([^"]*)" label: "([^"]*)"', line)
        edge = re.match(r'edge: { sourcename: "([^"]*)" targetname: "([^"]*)"(?: label: "([^"]*)")?', line)
        if node:
            stack = re.search(r"(\d+) bytes \(([^)]*)\)", node[2])
            if stack:
                size[node[1]] = (int(stack[1]), stack[2])
        elif edge:
            calls.setdefault(edge[1], set()).add((edge[2], edge[3] or ""))
    return size, calls


def deepest(name, size, calls, path, done, bad):
    """Bytes from `name` on."""
    short = name.split(":")[-1]
    if name in path:
        bad.append(f"a circle: {' '.join(n.split(':')[-1] for n in path[path.index(name):])}")
        return 0
    if name in done:
        return done[name]
    if name not in size:
        if not HOST.fullmatch(short):
            bad.append(f"{path[-1].split(':')[-1]} calls {short}, which is not the host's")
        return 0
    most = 0
    if size[name][1] != "static":
        bad.append(f"{short} has a {size[name][1]} stack")
    for callee, where in calls.get(name, ()):
        if callee == "__indirect_call":
            header = os.path.basename(where.split(":")[0])
            if header not in POINTERS:
                bad.append(f"{short} calls through a pointer, {where}")
                continue
            if POINTERS[header] is None:
                continue
            own = [n for n in size if n.split(":")[-1].split(".")[0] == POINTERS[header]]
            if not own:
                bad.append(f"{short}: no function {POINTERS[header]}")
                continue
            callee = own[0]
        most = max(most, deepest(callee, size, calls, path + [name], done, bad))
    done[name] = size[name][0] + most
    return done[name]


def way(name, size, calls):
    """The deepest path, for a message."""
    short = name.split(":")[-1].removeprefix("stack_")
    callees = [c for c, _ in calls.get(name, ()) if c in size]
    to = max(callees, key=lambda c: deepest(c, size, calls, [], {}, []), default=None)
    return f"{short} {size[name][0]}" + (f", {way(to, size, calls)}" if to else "")


def main():
    test = sys.argv[1] == "--self-test"
    arch, include, folder, *compiler = sys.argv[1 + test:]
    os.makedirs(folder, exist_ok=True)
    unit, aux = os.path.join(folder, "stack.c"), os.path.join(folder, "stack.aux")
    graph = os.path.join(folder, "stack.ci")
    text = '#include "flushq/flushq.h"\n#include "flushq/arch/riscv/sbi.h"\n' + (FAULTS if test else "")
    compile_unit(compiler, include, text, unit, "-aux-info", aux)
    text += wrappers(aux)
    compile_unit(compiler, include, text, unit, "-fcallgraph-info=su", "-dumpdir", folder + "/",
                 "-dumpbase", "stack.c", "-dumpbase-ext", ".c")
    size, calls = read_graph(graph)
    status, done, found, lines = 0, {}, set(), []
    for name in sorted(n for n in size if n.startswith("stack_flushq_")):
        bad = []
        depth = deepest(name, size, calls, [], {}, bad)
        name = name.removeprefix("stack_")
        lines.append((depth, f"stack call={name} arch={arch} bytes={depth}"))
        if depth > LIMIT:
            bad.append(f"{depth} bytes of stack, more than {LIMIT}: {way('stack_' + name, size, calls)}")
        if test:
            found |= {name} if bad else set()
        elif bad:
            status = 1
            print(f"{arch}: {name}: {'; '.join(sorted(set(bad)))}")
    if test:
        missed = {"flushq_x_" + f for f in ("circle", "dynamic", "deep", "allocates", "pointer")} - found
        if missed:
            print("not found:", *sorted(missed))
        return 1 if missed else status
    for _, line in sorted(lines, reverse=True):
        print(line)
    # The calls that the manual's tables list, and more.
    if len(lines) < 60:
        print(f"{arch}: only {len(lines)} functions were found")
        status = 1
    return status


sys.exit(main())
