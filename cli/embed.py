#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A text file as a C array that ends with a zero: embed.py FILE NAME > HEADER."""

import sys

with open(sys.argv[1], "rb") as file:
    content = file.read() + b"\0"
print(f"static const char {sys.argv[2]}[] = {{")
for at in range(0, len(content), 20):
    # As signed numbers, which fit a char wherever it is signed.
    print(" ".join(f"{byte - 256 if byte > 127 else byte}," for byte in content[at:at + 20]))
print("};")
