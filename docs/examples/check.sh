#!/bin/sh
# SPDX-License-Identifier: ISC
#
# check.sh SOURCE PROGRAM [ARGUMENT]...: the example must print what its source says after "prints:".
set -eu
expected=$(sed -n '/^\/\/.* prints:$/,/^$/s|^//     ||p' "$1")
[ -n "$expected" ] || { echo "$1 does not say what it prints"; exit 1; }
shift
printed=$("$@")
[ "$printed" = "$expected" ] && exit 0
printf 'expected:\n%s\nprinted:\n%s\n' "$expected" "$printed"
exit 1
