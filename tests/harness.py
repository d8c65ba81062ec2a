# SPDX-License-Identifier: ISC
"""What the runners below tests/ and bench/ share.

It finds the libraries to preload in a build folder, starts a command as an unprivileged user with
a clean environment and a time limit, says what every thread was doing when the limit passed, and
prints results the way ./dev reads them (see tests/README.md).

Nothing here knows a particular library: a runner says which layers ("glib", "libuv", ...) it wants
to preload.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

LAYERS = {
    "glib": ("compat/glib/libsmolscale-glib.so",),
    "libuv": ("compat/libuv/libsmolscale-uv.so",),
    "pthreadpool": ("compat/pthreadpool/libsmolscale-pthreadpool.so",),
}
CORE = "core/libsmolscale.so.0"
NOBODY = 65534


def layers_built(build):
    """The layers whose library is there, in the order in which they are preloaded."""
    return [name for name, paths in LAYERS.items()
            if all(os.path.exists(os.path.join(build, path)) for path in paths)]


class Preload:
    """The libraries of some layers, readable by every user, for as long as the object lives.

    A checkout below /root is closed to the unprivileged user the tests run as, so the libraries
    are copied out, at the same relative places: they find each other by $ORIGIN.
    """

    def __init__(self, build, layers):
        self.layers = list(layers)
        self.paths = []
        self.folder = None
        if not layers:
            return
        self.folder = tempfile.mkdtemp(prefix="smolscale-lib-")
        os.chmod(self.folder, 0o755)
        self._copy(build, CORE)
        for layer in layers:
            for path in LAYERS[layer]:
                self.paths.append(self._copy(build, path))

    def _copy(self, build, path):
        source = os.path.join(build, path)
        if not os.path.exists(source):
            raise SystemExit(f"{source} is not built: run ./dev build first")
        target = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.realpath(source), target)
        os.chmod(target, 0o755)
        return target

    def value(self, existing=""):
        """What LD_PRELOAD becomes: ours first, then what was there."""
        return ":".join(self.paths + [part for part in existing.split(":") if part])

    def env(self, base=None):
        result = dict(os.environ if base is None else base)
        value = self.value(result.get("LD_PRELOAD", ""))
        if value:
            result["LD_PRELOAD"] = value
        return result

    def close(self):
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Sandbox:
    """A folder of its own for one test: HOME, XDG_RUNTIME_DIR, TMPDIR and the working folder,
    owned by the user the test runs as."""

    def __init__(self, parent=None):
        self.folder = tempfile.mkdtemp(prefix="ss-", dir=parent)
        self.user = NOBODY if os.geteuid() == 0 else None
        for name in ("home", "run", "tmp", "cwd"):
            os.mkdir(os.path.join(self.folder, name), 0o700)
        if self.user is not None:
            for name in ("", "home", "run", "tmp", "cwd"):
                os.chown(os.path.join(self.folder, name), self.user, self.user)

    def path(self, name):
        return os.path.join(self.folder, name)

    def env(self):
        return {
            # Folders that the unprivileged user may not enter would turn "not found" into
            # "permission denied", so the caller's PATH stays behind.
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            "HOME": self.path("home"),
            "XDG_RUNTIME_DIR": self.path("run"),
            "TMPDIR": self.path("tmp"),
            "USER": "nobody" if self.user is not None else os.environ.get("USER", "user"),
            "SHELL": "/bin/sh",
        }

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def _session_pids(session):
    """The processes of a session, so that a stuck test can be described and ended whole."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry))
    return sorted(found)


def describe(session):
    """What each thread of a session's processes is doing: for the log of a test that hangs."""
    lines = []
    for pid in _session_pids(session):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            lines.append(f"process {pid}: {command}")
            for tid in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
                with open(f"/proc/{pid}/task/{tid}/stat") as file:
                    head, _, tail = file.read().rpartition(")")
                fields = tail.split()
                try:
                    with open(f"/proc/{pid}/task/{tid}/wchan") as file:
                        where = file.read().strip() or "-"
                except OSError:
                    where = "?"
                lines.append(f"  thread {tid} {head.partition('(')[2]:16} state {fields[0]} "
                             f"in {where}, user {fields[11]} system {fields[12]} ticks")
        except OSError:
            continue
        if shutil.which("gdb"):
            try:
                stacks = subprocess.run(
                    ["gdb", "-nx", "-batch", "-p", str(pid), "-ex", "set debuginfod enabled off",
                     "-ex", "thread apply all backtrace 20"],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    timeout=60)
                lines += ["  | " + line for line in
                          stacks.stdout.decode(errors="replace").splitlines()
                          if line.startswith(("#", "Thread"))]
            except (OSError, subprocess.SubprocessError):
                pass
    return "\n".join(lines)


def end_session(session):
    """Kills every process of a session."""
    for pid in _session_pids(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


_sessions = set()  # of the commands that run now


def _end_all(signum, frame):
    """A runner that is told to end takes everything it started with it."""
    for session in list(_sessions):
        end_session(session)
    os._exit(128 + signum)


signal.signal(signal.SIGTERM, _end_all)


class Finished:
    """How a command ended: status (None after a time-out), wall seconds, CPU seconds and context
    switches of the command and its children, and its output."""

    def __init__(self, status, wall, usage, output):
        self.status = status
        self.wall = wall
        self.cpu = usage.ru_utime + usage.ru_stime if usage else 0.0
        self.switches = usage.ru_nvcsw + usage.ru_nivcsw if usage else 0
        self.output = output

    @property
    def timed_out(self):
        return self.status is None

    def reason(self):
        if self.status is None:
            return "no end within its time limit"
        if self.status < 0:
            try:
                return f"ended by {signal.Signals(-self.status).name}"
            except ValueError:
                return f"ended by signal {-self.status}"
        return f"exit status {self.status}"


def execute(command, *, env, cwd, timeout, user=None, log=None, watch=None):
    """Runs a command in a session of its own, standard input empty, both outputs in one file, and
    ends the whole session afterwards. Output goes to `log` where one is named. `watch(pid)` is
    called every millisecond while the command runs."""
    if user is not None and shutil.which("prlimit"):
        # A runaway must not take the machine down: the limit is on all processes of that user.
        command = ["prlimit", "--nproc=8000", "--"] + command
    own = log is None
    path = tempfile.mktemp(prefix="smolscale-out-") if own else log
    identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    with open(path, "wb") as out:
        start = time.monotonic()
        process = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True, **identity)
        _sessions.add(process.pid)
        late = threading.Event()

        def expire():
            late.set()
            try:
                text = describe(process.pid)
                with open(path, "ab") as again:
                    again.write(f"\n# no end after {timeout} s; the threads were:\n{text}\n"
                                .encode())
            finally:
                end_session(process.pid)

        timer = threading.Timer(timeout, expire)
        timer.daemon = True
        timer.start()
        while watch is not None:
            watch(process.pid)
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            time.sleep(0.001)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        timer.cancel()
        if late.is_set():
            timer.join()
    end_session(process.pid)
    _sessions.discard(process.pid)
    with open(path, "rb") as file:
        output = file.read().decode(errors="replace")
    if own:
        os.unlink(path)
    return Finished(None if late.is_set() else process.returncode, wall, usage, output)


def read_stats(path):
    """The `name value` lines that the library leaves in the file named by SMOLSCALE_STATS. Every
    process of a run appends its own: counters add up, of a peak the highest counts."""
    stats = {}
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                words = line.split()
                if len(words) != 2 or not words[1].lstrip("-").isdigit():
                    continue
                before = stats.get(words[0], 0)
                value = int(words[1])
                stats[words[0]] = max(before, value) if words[0].endswith("_peak") \
                    else before + value
    return stats


TAP_LINE = re.compile(r"^\s*(not ok|ok)\b(.*)$")


def tap_counts(output):
    """(ok, skipped, not ok) of a TAP output; "ok ... # SKIP" is skipped, a TODO failure is ok."""
    ok = skipped = bad = 0
    for line in output.splitlines():
        match = TAP_LINE.match(line)
        if not match:
            continue
        note = match.group(2).upper()
        if "# SKIP" in note:
            skipped += 1
        elif match.group(1) == "ok" or "# TODO" in note:
            ok += 1
        else:
            bad += 1
    return ok, skipped, bad


def tap_subtests(output):
    """[(name, "ok", "skipped" or "not ok", what is said of it)] of a TAP output, as tap_counts() counts them."""
    found = []
    for line in output.splitlines():
        match = TAP_LINE.match(line)
        if not match:
            continue
        name, _, note = match.group(2).partition(" # ")
        name = re.sub(r"^\s*\d+\s+(- )?", "", name).strip()
        ok, skipped, _ = tap_counts(line)
        found.append((name, "skipped" if skipped else "ok" if ok else "not ok", re.sub(r"^(?i:skip)\S*\s*", "", note)))
    return found


class Tally:
    """Collects results and prints them: a line for each failure as it comes, the counts at the
    end. Usable from several threads."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self._lock = threading.Lock()

    def ok(self, name, note=""):
        with self._lock:
            self.passed += 1
            print(f"ok      {name}{'  ' + note if note else ''}", flush=True)

    def count(self):
        """One more that passed, not worth a line."""
        with self._lock:
            self.passed += 1

    def skip(self, name, why):
        with self._lock:
            self.skipped += 1
            print(f"skipped {name}: {why}", flush=True)

    def fail(self, name, why, log=None):
        with self._lock:
            self.failed += 1
            where = f" (log: {log})" if log else ""
            print(f"FAILED  {name}: {why}{where}", flush=True)

    def finish(self):
        """Prints the closing line and returns the exit status."""
        tail = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{tail}", flush=True)
        return 1 if self.failed else 0
