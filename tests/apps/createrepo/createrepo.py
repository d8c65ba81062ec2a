# SPDX-License-Identifier: ISC
"""createrepo_c, which reads rpm packages in a GThreadPool and writes the index of a repository.

The index is the same in every run down to the byte once its time stamp is fixed by --revision.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import apps  # noqa: E402


def command(packages):
    def with_box(box):
        return ["createrepo_c", "--quiet", "--no-database", "--revision", "1",
                "--set-timestamp-to-revision", "--outputdir", box.path("cwd"), packages]
    return with_box


def digest(box, output):
    folder = box.path("cwd/repodata")
    return apps.hash_files(os.path.join(folder, name) for name in sorted(os.listdir(folder)))


def app(packages):
    return apps.App("createrepo_c", ["glib"], ["createrepo_c"], command(packages), digest)
