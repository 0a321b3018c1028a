#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions on the shortest path through a function that touches no CSR, so flushes nothing and is
not one of the slow paths: for flushq_switch_to() the switch of a CPU that owes nothing. Calls are
followed; a loop counts as often as the shortest path needs it. Reads objdump -dr of RISC-V."""
import re
import sys


def main():
    name = sys.argv[1]
    code, order, starts, callee = {}, [], {}, {}
    section = 0
    for line in sys.stdin:
        # Each section of an object starts at 0.
        if line.startswith("Disassembly of section"):
            section += 1 << 32
        start = re.match(r"[0-9a-f]+ <(.*)>:$", line.strip())
        if start:
            # Local labels stay in the object where the linker may relax.
            if not start.group(1).startswith("."):
                starts[start.group(1)] = section + int(line.split()[0], 16)
            continue
        call = re.match(r"\s*([0-9a-f]+): R_RISCV_CALL\S*\s+(\S+)", line)
        if call:
            callee[section + int(call.group(1), 16)] = call.group(2)
        insn = re.match(r"\s*([0-9a-f]+):\t[0-9a-f ]+\t(\S+)(?:\t(.*))?$", line.rstrip())
        if insn:
            at = section + int(insn.group(1), 16)
            code[at] = (insn.group(2), insn.group(3) or "")
            order.append(at)
    after = dict(zip(order, order[1:]))

    def target(at):
        found = re.search(r"(?:^|,)\s*([0-9a-f]+) <", code[at][1])
        return (at >> 32 << 32) + int(found.group(1), 16) if found else None

    def called(at):
        found = re.search(r"# [0-9a-f]+ <([^>+]*)>", code[after[at]][1])
        to = callee.get(at) or (found and found.group(1)) or ""
        # What a switch that owes something goes on with.
        return None if "_switch_on" in to else starts.get(to)

    # Breadth first: all steps cost one.
    if name not in starts:
        print("no function", name)
        return 1
    front, seen = [(starts[name], [], False, ())], set()
    while front:
        at, path, stored, back = front.pop(0)
        if (at, stored, back) in seen or at not in code or len(back) > 4:
            continue
        seen.add((at, stored, back))
        op, operands = code[at]
        path = path + [at]
        base = op.removeprefix("c.")
        stored = stored or base.startswith("amo") or (
            base in ("sb", "sh", "sw", "sd") and "(sp)" not in operands)
        if base == "ret" or (base == "jr" and operands == "ra"):
            if back:
                front.append((back[-1], path, stored, back[:-1]))
                continue
            # A path that stores nothing is that of a CPU that there is not.
            if not stored:
                continue
            branches = sum(code[a][0].removeprefix("c.").startswith("b") for a in path)
            fences = sum(code[a][0].startswith("fence") for a in path)
            print(f"{len(path)} instructions ({branches} branches, {fences} fences)")
            if "-v" in sys.argv:
                for a in path:
                    print("   ", *code[a])
            return 0
        if base == "auipc" and code[after[at]][0].removeprefix("c.") in ("jr", "jalr"):
            jump = after[at]
            if code[jump][0].removeprefix("c.") == "jalr":
                back = back + (after.get(jump),)
            front.append((called(at), path + [jump], stored, back))
            continue
        if base.startswith(("csr", "sfence", "jal", "call", "tail", "auipc", "jr")):
            continue
        if base == "j":
            front.append((target(at), path, stored, back))
            continue
        if base.startswith("b"):
            front.append((target(at), path, stored, back))
        front.append((after.get(at), path, stored, back))
    print("no path found")
    return 1


sys.exit(main())
