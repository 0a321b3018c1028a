#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions on the shortest path through a function that makes no call and touches no CSR:
for flushq_switch_to() the switch of a CPU that owes nothing. Reads objdump -d of RISC-V."""
import re
import sys


def main():
    name = sys.argv[1]
    code, order, inside = {}, [], False
    for line in sys.stdin:
        start = re.match(r"[0-9a-f]+ <(.*)>:$", line.strip())
        if start:
            # Local labels stay in the object where the linker may relax.
            if not start.group(1).startswith("."):
                inside = start.group(1) == name
            continue
        insn = re.match(r"\s*([0-9a-f]+):\t[0-9a-f ]+\t(\S+)(?:\t(.*))?$", line.rstrip())
        if inside and insn:
            at = int(insn.group(1), 16)
            code[at] = (insn.group(2), insn.group(3) or "")
            order.append(at)
    after = dict(zip(order, order[1:]))

    def target(operands):
        found = re.search(r"(?:^|,)\s*([0-9a-f]+) <", operands)
        return int(found.group(1), 16) if found else None

    # Breadth first: all steps cost one.
    front, seen = [(order[0], [], False)], set()
    while front:
        at, path, stored = front.pop(0)
        if (at, stored) in seen or at not in code:
            continue
        seen.add((at, stored))
        op, operands = code[at]
        path = path + [at]
        base = op.removeprefix("c.")
        # A path that stores nothing is that of a CPU that there is not.
        stored = stored or base in ("sb", "sh", "sw", "sd") or base.startswith("amo")
        if not stored and (base == "ret" or (base == "jr" and operands == "ra")):
            continue
        if base == "ret" or (base == "jr" and operands == "ra"):
            branches = sum(code[a][0].removeprefix("c.").startswith("b") for a in path)
            fences = sum(code[a][0].startswith("fence") for a in path)
            print(f"{len(path)} instructions ({branches} branches, {fences} fences)")
            if "-v" in sys.argv:
                for a in path:
                    print("   ", *code[a])
            return 0
        if base.startswith(("csr", "sfence", "jal", "call", "tail", "auipc")):
            continue
        if base == "j":
            front.append((target(operands), path, stored))
            continue
        if base.startswith("b"):
            front.append((target(operands), path, stored))
        front.append((after.get(at), path, stored))
    print("no path found")
    return 1


sys.exit(main())
