#!/bin/sh
# SPDX-License-Identifier: ISC
#
# The layer in each form in which a program can get it: check_library.sh BUILD SOURCE SECURE STATIC [NATIVE].
#   BUILD, SOURCE  the folders
#   SECURE         a library that makes a process believe it runs setuid
#   STATIC         the probe, linked with the archives
#   NATIVE         the probe, linked with the native libpthreadpool.so.0 (not everywhere)
# probe.c says what the lines mean.
set -u
build=$1 source=$2 secure=$3 static=$4 native=${5:-}
layer=$build/compat/pthreadpool/libsmolscale-pthreadpool.so
private=$build/compat/pthreadpool/libpthreadpool.so.0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset LD_LIBRARY_PATH LD_PRELOAD SMOLSCALE_DISABLE
status=0

# expect WHAT LINE COMMAND...: the command prints this line, and nothing else
expect() {
    what=$1 line=$2
    shift 2
    found=$(timeout 60 "$@" 2>&1) || true
    if [ "$found" = "$line" ]; then
        echo "ok $what"
    else
        echo "FAILED $what: expected '$line', found '$found'"
        status=1
    fi
}

for library in "$layer" "$private"; do
    name=$(basename "$library")
    dynamic=$(readelf -d "$library")
    for flag in NOW NODELETE; do
        expect "$name has the flag $flag" yes sh -c \
            'echo "$1" | grep -q "(FLAGS_1).*\<$2\>" && echo yes' - "$dynamic" "$flag"
    done
    expect "$name finds the core relative to itself" yes sh -c \
        'echo "$1" | grep -q "R.*PATH.*\[.ORIGIN" && echo yes' - "$dynamic"
done
expect "the private library has the native one's name" "libpthreadpool.so.0" sh -c \
    'readelf -d "$1" | sed -n "s/.*(SONAME).*\[\(.*\)\]/\1/p"' - "$private"

if [ -n "$native" ]; then
    expect "natively" "native ok" "$native"
    expect "preloaded" "smolscale ok" env LD_PRELOAD="$layer" "$native"
    expect "preloaded and bound at the start" "smolscale ok" env LD_BIND_NOW=1 LD_PRELOAD="$layer" "$native"
    expect "preloaded, before any constructor" "smolscale ok" env LD_PRELOAD="$layer" "$native" early
    expect "preloaded, membarrier forbidden" "smolscale ok" env LD_PRELOAD="$layer" "$native" no-membarrier
    expect "preloaded, SMOLSCALE_DISABLE=1" "native ok" env SMOLSCALE_DISABLE=1 LD_PRELOAD="$layer" "$native"
    expect "preloaded, setuid" "native ok" env LD_PRELOAD="$secure $layer" "$native"
    expect "by the library path" "smolscale ok" env LD_LIBRARY_PATH="$(dirname "$private")" "$native"
    expect "by the library path, SMOLSCALE_DISABLE=1: there is no other" "smolscale ok" \
        env SMOLSCALE_DISABLE=1 LD_LIBRARY_PATH="$(dirname "$private")" "$native"
    expect "both ways at once" "smolscale ok" \
        env LD_PRELOAD="$layer" LD_LIBRARY_PATH="$(dirname "$private")" "$native"
else
    echo "no native libpthreadpool: the probe cannot be preloaded"
fi
expect "linked with the archives" "smolscale ok" "$static"
expect "linked with the archives, membarrier forbidden" "smolscale ok" "$static" no-membarrier
expect "linked with the archives, SMOLSCALE_DISABLE=1: there is no other" "smolscale ok" \
    env SMOLSCALE_DISABLE=1 "$static"
expect "a program without pthreadpool gets no thread by the preload" "Threads:	1" \
    env LD_BIND_NOW=1 LD_PRELOAD="$layer" grep Threads: /proc/self/status

# As installed: the header, and both ways of linking by pkg-config.
if command -v pkg-config >/dev/null && command -v cc >/dev/null &&
    DESTDIR=$tmp meson install -C "$build" --no-rebuild >"$tmp/install.log" 2>&1; then
    pc=$(find "$tmp" -name smolscale-pthreadpool.pc)
    PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR=$tmp
    export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
    lib=$(dirname "$PKG_CONFIG_PATH")
    probe=$source/tests/compat/pthreadpool/probe.c
    # shellcheck disable=SC2046
    expect "pkg-config compiles and links" "" \
        cc -D_GNU_SOURCE "$probe" -o "$tmp/linked" $(pkg-config --cflags --libs smolscale-pthreadpool)
    expect "linked by pkg-config" "smolscale ok" env LD_LIBRARY_PATH="$lib" "$tmp/linked"
    # shellcheck disable=SC2046
    expect "the installed archives link" "" \
        cc -D_GNU_SOURCE $(pkg-config --cflags smolscale-pthreadpool) "$probe" -o "$tmp/static" \
        "$lib/libsmolscale-pthreadpool.a" "$lib/libsmolscale.a" -lpthread
    expect "linked with the installed archives" "smolscale ok" "$tmp/static"
    if [ -n "$native" ]; then
        expect "the installed private folder" "smolscale ok" env LD_LIBRARY_PATH="$lib/smolscale" "$native"
        expect "the installed preload" "smolscale ok" \
            env LD_PRELOAD="$lib/libsmolscale-pthreadpool.so" "$native"
    fi
else
    echo "FAILED installation: $(tail -n 1 "$tmp/install.log" 2>/dev/null)"
    status=1
fi
exit $status
