// SPDX-License-Identifier: ISC
//
// Reads ELF objects: as the dynamic loader has mapped them, and as they lie on disk. Knows nothing
// of libuv.
//
// An object is seen as a list of segments, each an address range and the bytes that stand for it:
// in memory, or in the file. Everything read goes through ss_object_at(), which answers only
// for ranges that lie within one segment. So a broken or hostile object can make a search fail, and
// nothing else (tests/fuzz).
//
// Addresses are the object's own (as its symbol tables have them); in memory `base` is to be added.
// 64-bit little-endian objects only. Nothing is allocated; thread-safe for different objects.

#ifndef SS_INSIDE_OBJECT_H
#define SS_INSIDE_OBJECT_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SS_OBJECT_SEGMENTS 16

struct ss_segment {
    uint64_t address, size;
    const uint8_t *bytes;
    bool executable; // and not writable
};

struct ss_object {
    uint16_t machine; // EM_*
    unsigned count;
    struct ss_segment segment[SS_OBJECT_SEGMENTS];
    uintptr_t base; // in memory: what the loader added to the addresses; 0 for a file

    // Of the dynamic section; 0 where there is none.
    uint64_t gnu_hash, symbols, strings, strings_size, name;
    uint64_t plt_relocations, plt_relocations_size, relocations, relocations_size;

    uint64_t unwind_table; // .eh_frame_hdr; 0: none
};

// A file, mapped. `file` is valid until ss_file_close().
struct ss_file {
    const uint8_t *bytes;
    size_t size;
    bool mapped;
};

struct ss_symbol {
    uint64_t address, size;
    bool function; // defined here, a function that is none but itself (no IFUNC)
    unsigned found;
};

// From what the loader says of an object (struct dl_phdr_info). False: not for this machine, or
// unreadable.
bool ss_object_of_memory(struct ss_object *object, uintptr_t base, const Elf64_Phdr *headers,
                         unsigned count);

// The object that a file holds, of whatever machine. False: not an object that could be read.
bool ss_object_of_file(struct ss_object *object, const struct ss_file *file);

// The `size` bytes at an address; NULL: not all within one segment. Not aligned.
const uint8_t *ss_object_at(const struct ss_object *object, uint64_t address, uint64_t size);

// The text at an offset of the dynamic string table; NULL: none, or without an end.
const char *ss_object_string(const struct ss_object *object, uint64_t offset);

// Is this address within code?
bool ss_object_is_code(const struct ss_object *object, uint64_t address);

// What the object exports under a name, by its hash table. `found` counts the definitions (several:
// versions).
struct ss_symbol ss_object_export(const struct ss_object *object, const char *name);

// The name that a relocation puts into the pointer at this address; NULL: none.
const char *ss_object_slot_name(const struct ss_object *object, uint64_t slot);

// The extent of the function that begins at this address, by the unwind tables; 0: none begins
// there.
uint64_t ss_object_function_size(const struct ss_object *object, uint64_t address);

// Maps a file; false: cannot. 0 <= errno.
bool ss_file_open(struct ss_file *file, const char *path);
void ss_file_close(struct ss_file *file);

// Are these, byte for byte, the file's program headers?
bool ss_file_has_headers(const struct ss_file *file, const Elf64_Phdr *headers, unsigned count);

// Calls `each` with every defined symbol of the full symbol table (.symtab) whose name begins with
// `prefix`. False: there is no such table.
typedef void ss_symbol_fn(void *context, const char *name, struct ss_symbol symbol);
bool ss_file_symbols(const struct ss_file *file, const char *prefix, ss_symbol_fn *each,
                     void *context);

#endif // SS_INSIDE_OBJECT_H
