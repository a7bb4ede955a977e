"""Prints what benches/profile has counted: python3 benches/profile.py WORKLOAD CONTENDER FOLDER."""

import collections
import os
import re
import subprocess
import sys

TASKS = {
    "big": 1_000_000, "big_mimalloc": 1_000_000, "serial": 500_000, "serial_mimalloc": 500_000,
    "pushers_2": 1_000_000, "pushers_4": 1_000_000, "nested": 1_000_000, "nested_no_limit": 1_000_000,
    "map_in_order": 200_000, "map_completed": 200_000, "map_async": 200_000, "spawn_join": 200_000, "one_at_a_time": 5_000,
    "scope": 200_000, "for_each_range": 10_000_000, "for_each_vector": 10_000_000, "for_each_iterator": 10_000_000,
    "wake": 250,
}


def executed(path):
    """Returns how often each instruction was executed: {(object, function, address): count}."""
    counts = collections.Counter()
    whole, function, is_call = "", "", False
    for line in open(path):
        if line.startswith("ob="):
            whole = line[3:].strip()
        elif line.startswith("fn="):
            function = line[3:].strip().split("'")[0]
        elif line.startswith("calls="):
            is_call = True
        elif line.startswith("0x"):
            # The line after `calls=` has the cost of the function that is called, which has lines of its own.
            if not is_call:
                address, _, count = line.split()
                counts[whole, function, int(address, 16)] += int(count)
            is_call = False
    return counts


def output_of(*command, text=None):
    return subprocess.run(command, input=text, capture_output=True, text=True).stdout


def where_loaded(path, functions):
    """Returns the address at which the object was loaded: a function begins at this address plus its symbol's."""
    symbols = {}
    for line in (output_of("nm", path) + output_of("nm", "-D", path)).splitlines():
        parts = line.split()
        if len(parts) == 3:
            symbols.setdefault(parts[2].split("@")[0], int(parts[0], 16))
    votes = collections.Counter(first - symbols[name] for name, first in functions.items() if name in symbols)
    return votes.most_common(1)[0][0] if votes else 0


def atomics(path):
    """Returns the addresses of an object's read-modify-writes and of its fences."""
    changes, fences = set(), set()
    for line in output_of("objdump", "-d", "--no-show-raw-insn", path).splitlines():
        parts = line.split("\t")
        if len(parts) < 2:
            continue
        address, instruction = int(parts[0].strip().rstrip(":"), 16), parts[1]
        if re.match(r"mfence|lock or[lq]? +\$0x0,(-0x\w+)?\(%[er]sp\)", instruction):
            fences.add(address)
        elif re.match(r"lock |xchg.*\(", instruction):
            changes.add(address)
    return changes, fences


def main():
    row, contender, folder = sys.argv[1:]
    counts = collections.Counter()
    signs = {"full": 1, "small": -1}
    for scale, sign in signs.items():
        files = [(contender, sign)] if contender == "ours" else [(contender, sign), ("ours", -sign)]
        for name, factor in files:
            for key, count in executed(f"{folder}/{name}.{scale}").items():
                counts[key] += factor * count
    tasks = TASKS[row] * 0.999
    sums = collections.defaultdict(lambda: [0, 0, 0])
    for path in {key[0] for key in counts}:
        exists, first = os.path.exists(path), {}
        for _, function, address in (key for key in counts if key[0] == path):
            first[function] = min(address, first.get(function, address))
        loaded = where_loaded(path, first) if exists else 0
        changes, fences = atomics(path) if exists else (set(), set())
        for (whole, function, address), count in counts.items():
            if whole == path:
                sums[function][0] += count
                sums[function][1] += count if address - loaded in changes else 0
                sums[function][2] += count if address - loaded in fences else 0
    total = [sum(values[kind] for values in sums.values()) / tasks for kind in range(3)]
    print(f"\n{row}, {contender}, each task:\n\ninstructions  changes  fences")
    for name, values in sorted(sums.items(), key=lambda item: -item[1][0]):
        each = [value / tasks for value in values]
        if abs(each[0]) >= 0.01 * total[0] or abs(each[1]) + abs(each[2]) >= 0.05:
            print(f"{each[0]:12.2f} {each[1]:8.2f} {each[2]:7.2f}  {output_of('c++filt', name).strip()}")
    print(f"{total[0]:12.2f} {total[1]:8.2f} {total[2]:7.2f}  in all")


main()
