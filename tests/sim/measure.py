#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""measure.py BUILD [--rounds N] [--name NAME]: writes the profile of this machine (tests/sim/time/profiles) to
standard output. Each number says how it was measured; what cannot be measured is marked as assumed.

bench/costs/machine measures what the kernel and the memory take. Of N rounds the least counts: other programs only add
to it. What an access takes, with the instructions around it, comes from bench/costs/core: the same source runs here and
on the simulated machine, with accesses that take nothing and with such that take 1 ns; in between lies what it takes
here (the median of the rounds, for it follows the CPU's clock)."""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from quiet import quietly  # noqa: E402

PROFILES = os.path.join(HERE, "time", "profiles")


def figures(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300)
    return {name: float(value) for name, value, _ in (line.split() for line in done.stdout.decode().splitlines())}


def read(path, otherwise=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return otherwise


def cpu_list(text):
    """The CPUs of "0-3,8"."""
    found = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


class Topology:
    """Which CPUs share what with the first one, as the kernel sees it."""

    def __init__(self):
        self.cpus = sorted(os.sched_getaffinity(0))
        folder = f"/sys/devices/system/cpu/cpu{self.cpus[0]}"
        own = str(self.cpus[0])
        caches = [read(f"{folder}/cache/index{i}/shared_cpu_list", own) for i in range(5)]
        self.core = self.mine(read(f"{folder}/topology/thread_siblings_list", own))
        self.complex = self.mine(max(caches, key=lambda text: len(cpu_list(text))))
        self.socket = self.mine(read(f"{folder}/topology/package_cpus_list", "") or
                                read(f"{folder}/topology/core_siblings_list", own))

    def mine(self, text):
        return [cpu for cpu in cpu_list(text) if cpu in self.cpus]

    def other(self, near, far):
        """A CPU of `far` that is not in `near`; None."""
        return next((cpu for cpu in far if cpu not in near), None)

    def at_each_distance(self):
        return {"from_core": self.other(self.cpus[:1], self.core),
                "from_complex": self.other(self.core, self.complex),
                "from_socket": self.other(self.complex, self.socket),
                "from_far": self.other(self.socket, self.cpus)}


def simulated_core(sim, access_ps):
    """bench/costs/core on a machine on which an access takes so many ps."""
    with tempfile.TemporaryDirectory() as folder:
        lines = read(os.path.join(PROFILES, "machine-a.txt")).splitlines()
        with open(os.path.join(folder, "probe.txt"), "w", encoding="utf-8") as file:
            file.writelines(f"access_ps {access_ps}\n" if line.startswith("access_ps ") else line + "\n" for line in lines)
        return sum(figures([sim, "program", "--profiles", folder, "--profile", "probe", "costs", "--rounds", "3"]).values())


def access_ps(build, sim, real, rmw):
    """What an access takes here. The simulated machine's read-modify-writes take what they do in machine-a."""
    none, one = simulated_core(sim, 0), simulated_core(sim, 1000)
    its_rmw = next(float(line.split()[1]) for line in read(os.path.join(PROFILES, "machine-a.txt")).splitlines()
                   if line.startswith("rmw "))
    # Each of the loops' read-modify-writes takes `rmw` here.
    none -= rmw_count(sim) * (its_rmw - rmw)
    slope = one - simulated_core(sim, 0)
    return max(round(1000 * (real - none) / slope), 1)


def rmw_count(sim):
    """Of all loops together, for one turn of each: by how much they take longer if one takes a ns more."""
    with tempfile.TemporaryDirectory() as folder:
        sums = []
        for rmw in (0, 10):
            lines = read(os.path.join(PROFILES, "machine-a.txt")).splitlines()
            with open(os.path.join(folder, "probe.txt"), "w", encoding="utf-8") as file:
                file.writelines(f"rmw {rmw}\n" if line.startswith("rmw ") else line + "\n" for line in lines)
            sums.append(sum(figures([sim, "program", "--profiles", folder, "--profile", "probe", "costs", "--rounds",
                                     "3"]).values()))
        return (sums[1] - sums[0]) / 10


class Profile:
    """Lines of a name, a number and where it is from."""

    def __init__(self):
        self.lines = []

    def add(self, name, value, source):
        text = value if isinstance(value, str) else str(round(value))
        self.lines.append((f"{name} {text}", source))

    def gap(self):
        self.lines.append(("", ""))

    def print(self):
        for line, source in self.lines:
            print(f"{line:39} # {source}" if source else line)


def difference(whole, *parts):
    return max(whole - sum(parts), 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all measurements (5)")
    parser.add_argument("--name", default="This machine", help="what the first line calls it")
    options = parser.parse_args()
    topology = Topology()
    near = topology.at_each_distance()
    program = os.path.join(options.build, "bench/costs/machine")
    core = os.path.join(options.build, "bench/costs/core")
    sim = os.path.join(options.build, "tests/sim/sim")
    others = [str(cpu) for cpu in near.values() if cpu is not None]
    rounds, cores = [], []
    for _ in range(options.rounds):
        rounds.append(figures(quietly([program, str(topology.cpus[0]), *others])))
        cores.append(sum(figures(quietly([core])).values()))
    m = {name: min(one[name] for one in rounds) for name in rounds[0]}
    stays, comes = (statistics.median(one.get(name, 0) for one in rounds) for name in ("stays_with_waker", "comes_to_waker"))

    print(f"# {options.name}: {len(topology.cpus)} CPUs, {platform.machine()}, Linux {platform.release()}. Written by "
          f"./dev sim measure, {options.rounds} rounds;\n# ns unless said otherwise. Measured by bench/costs/machine: what "
          "is said of each number is its figure there.")
    p = Profile()
    p.add("cpus", len(topology.cpus), "that this process may use")
    p.add("per_core", len(topology.core), "the kernel's thread siblings")
    p.add("per_complex", len(topology.complex), "the CPUs that share the last cache, as far as the kernel is told")
    p.add("per_socket", max(len(topology.socket), len(topology.complex)), "the kernel's package")
    p.add("placement", "waker" if comes > 0.5 else "last" if stays > 0.5 else "previous",
          f"comes_to_waker: {comes:.2f} of the wakes; stays_with_waker: {stays:.2f}" if len(topology.cpus) > 1 else
          "assumed: there is one CPU")
    p.gap()
    p.add("access_ps", access_ps(options.build, sim, statistics.median(cores), m["rmw"]),
          "bench/costs/core, here and on the simulated machine")
    for name in ("rmw", "fence"):
        p.add(name, m[name], name)
    known = 0.0
    for name, cpu in near.items():
        if cpu is not None:
            known = m[f"line_{topology.cpus[0]}_{cpu}"]
            p.add(name, known, f"line_{topology.cpus[0]}_{cpu}: half of a round")
        else:
            p.add(name, known or min((m[f"line_{topology.cpus[0]}_{other}"] for other in near.values()
                                      if other is not None), default=50), "assumed: there is no such distance")
    p.add("from_memory", m["from_memory"], "from_memory: a walk through twice what the cache holds")
    p.add("cache", m["cache"], "lines; cache: the second level, as the C library has it")
    for name in ("pause", "clock", "ticks"):
        p.add(name, m[name], name)
    p.add("memory", m["memory"], "memory: half of malloc() and free()")
    p.gap()
    p.add("call", m["call"], "call: getppid()")
    p.add("call futex wake", m["call_futex_wake"], "call_futex_wake: nobody waits")
    p.add("call futex wait", m["call_futex_wait"], "call_futex_wait: it has changed")
    p.add("call clock_gettime of a thread", m["call_clock_gettime_of_a_thread"], "of one that runs")
    p.add("call read /proc", m["call_read_proc"], "opened, read and closed")
    p.add("call read /proc/loadavg", m["call_read_proc_loadavg"], "opened, read and closed")
    p.add("call open /proc", m["call_open_proc"], "opened and closed")
    p.add("call clone", m["call_clone"], "call_clone: pthread_create()")
    if "call_membarrier" in m:
        p.add("call membarrier", m["call_membarrier"], "another CPU runs a thread of the process")
    p.add("call sched_yield", m["call_sched_yield"], "nobody else wants the CPU")
    p.add("thread_switch", difference(m["switch"], m["call_sched_yield"]), "switch, less the call: two threads yield in turn")
    p.add("thread_life", difference(m["thread_cpu"], m["call_clone"], 2 * m["switch"]),
          "thread_cpu, of create and join, less the call and two switches")
    waking = m["call_futex_wake"] + difference(m["switch"], m["call_sched_yield"])
    p.add("wake_here", difference(m["wake_here"], waking), "wake_here, less the call and a switch")
    p.add("sleep", difference(m["trip_here"], m["wake_here"], m["call_futex_wait"]),
          "trip_here, less wake_here and the call: two threads wake each other in turn")
    p.add("wake_busy", difference(m.get("wake_soon_call", 2000), m["call_futex_wake"]), "assumed: as to an idle one")
    p.add("overshoot", difference(m["sleep_short"], m["switch"]), "sleep_short: of 20 us without slack, less a switch")
    p.add("slack", difference(m["sleep_with_slack"], m["sleep_short"]), "sleep_with_slack, less sleep_short")
    for after, name, text in ((0, "soon", "20 us"), (1000000, "later", "1 ms")):
        call = difference(m.get(f"wake_{name}_call", 2000), m["call_futex_wake"])
        arrival = difference(m.get(f"wake_{name}_arrival", 2000), waking)
        source = f"wake_{name}_call, _arrival: after {text}, less the call and a switch" if "wake_soon_call" in m else \
            "assumed: there is one CPU"
        p.add("idle", f"{after} {round(call)} {round(arrival)}", source)
    p.gap()
    p.add("slice", 3000000, "assumed: Linux' default")
    p.add("granularity", 1000000, "assumed: Linux' sched_wakeup_granularity")
    p.add("hot", 500000, "assumed: Linux' sched_migration_cost")
    p.add("balance", 4000000, "assumed: one tick of 250 Hz")
    p.print()


if __name__ == "__main__":
    sys.exit(main())
