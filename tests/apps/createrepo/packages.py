# SPDX-License-Identifier: ISC
"""Makes a few hundred small rpm packages for createrepo_c, once: they are kept in the build folder.

One spec file with many subpackages makes them in a single run of rpmbuild.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile

COUNT = 300

HEAD = """\
%define _source_payload w1.gzdio
%define _binary_payload w1.gzdio
%define _build_id_links none
%define __os_install_post %{nil}
%define __brp_ldconfig %{nil}
Name: smol
Version: 1
Release: 1
Summary: Small packages for a repository
License: ISC
BuildArch: noarch
AutoReqProv: no
%description
Small packages.
"""


def spec(count):
    parts = [HEAD]
    for i in range(count):
        parts.append(f"""\
%package -n smol-{i:04}
Summary: Small package {i}
Provides: thing({i})
Requires: thing({(i * 7 + 1) % count})
%description -n smol-{i:04}
{"Words about package %d. " % i * (1 + i % 20)}
%files -n smol-{i:04}
/usr/share/smol/{i:04}
""")
    parts.append("""\
%install
for i in $(seq 0 LAST); do
    d=%{buildroot}/usr/share/smol/$(printf %04d $i)
    mkdir -p $d
    for j in $(seq 1 $((1 + i % 12))); do echo "file $j of package $i" > $d/file-$j; done
done
%changelog
* Thu Jan 01 2026 Nobody <nobody@example.org> - 1-1
- First.
""".replace("LAST", str(count - 1)))
    return "".join(parts)


def make(build, count=COUNT):
    """The folder with the packages; makes them if it is not there yet."""
    target = os.path.abspath(os.path.join(build, "apps", f"rpms-{count}"))
    if os.path.isdir(target):
        return target
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="smolscale-rpm-") as top:
        path = os.path.join(top, "smol.spec")
        with open(path, "w") as file:
            file.write(spec(count))
        result = subprocess.run(
            ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {top}",
             "--define", f"_dbpath {top}/db", path],
            env={**os.environ, "SOURCE_DATE_EPOCH": "1767225600", "HOME": top},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if result.returncode != 0:
            raise SystemExit("rpmbuild: " + result.stdout.decode(errors="replace")[-2000:])
        made = os.path.join(top, "RPMS", "noarch")
        for name in os.listdir(made):
            os.utime(os.path.join(made, name), (1767225600, 1767225600))
        found = len(os.listdir(made))
        if found != count:
            raise SystemExit(f"rpmbuild made {found} packages instead of {count}")
        shutil.copytree(made, target + ".part")
        os.rename(target + ".part", target)
    return target


@contextlib.contextmanager
def readable(folder):
    """A copy of the packages that the unprivileged user can read wherever the build folder is."""
    with tempfile.TemporaryDirectory(prefix="smolscale-rpms-") as copy:
        os.chmod(copy, 0o755)
        inner = os.path.join(copy, "packages")
        shutil.copytree(folder, inner)
        os.chmod(inner, 0o755)
        yield inner
