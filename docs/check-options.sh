#!/bin/sh
# SPDX-License-Identifier: ISC
#
# check-options.sh TOP: every SMOLSCALE_ variable of the option table is explained in the man page and the
# README, and these name no other. (SMOLSCALE_QUEUE_... and what is followed by a bracket or a semicolon are the
# headers', SMOLSCALE_BUILD is ./dev's.)
set -eu
cd "$1"
table=$(sed -n 's/.*{"\(SMOLSCALE_[A-Z_]*\)",.*/\1/p' core/process/options.c | sort)
[ -n "$table" ] || { echo "no option found in core/process/options.c"; exit 1; }
status=0
for document in docs/smolscale.7 README.md; do
    named=$(sed 's/SMOLSCALE_[A-Z_]*[(;]//g' "$document" | grep -o 'SMOLSCALE_[A-Z_]*' | grep -v -e QUEUE_ -e BUILD | sort -u)
    for option in $table; do
        echo "$named" | grep -qx "$option" || { echo "$document does not name $option"; status=1; }
    done
    for option in $named; do
        echo "$table" | grep -qx "$option" || { echo "$document names $option, which is no option"; status=1; }
    done
done
exit $status
