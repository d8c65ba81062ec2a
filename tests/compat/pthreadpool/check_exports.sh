#!/bin/sh
# SPDX-License-Identifier: ISC
#
# The libraries export the 58 functions of pthreadpool and nothing else, and need nothing but
# libsmolscale and libc: check_exports.sh LIBRARY...
set -eu
expected=$(sed -e 's/#.*//' "$(dirname "$0")/exports.txt" | LC_ALL=C sort)
status=0
for library in "$@"; do
    found=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sed 's/@.*//' | LC_ALL=C sort)
    if [ "$found" != "$expected" ]; then
        echo "$library: exports differ (expected < > found)"
        printf '%s\n' "$expected" >"${TMPDIR:-/tmp}/exports.$$"
        printf '%s\n' "$found" | diff "${TMPDIR:-/tmp}/exports.$$" - || true
        rm -f "${TMPDIR:-/tmp}/exports.$$"
        status=1
    fi
    others=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
        grep -vE '^(libsmolscale|libc|libpthread|libdl|librt|ld-linux.*)\.so' || true)
    if [ -n "$others" ]; then
        echo "$library: needs $others"
        status=1
    fi
done
exit $status
