// SPDX-License-Identifier: ISC
//
// An ELF file as the dynamic linker sees it: read by libelf, never executed. All that a file says
// is taken for what it is, a stranger's word: an offset that leads out of the file yields "not
// there".

#ifndef SMOLSCALE_CLI_OBJECT_H
#define SMOLSCALE_CLI_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object {
    char *path;
    int elf_class;                  // ELFCLASS32, ELFCLASS64
    int encoding;                   // ELFDATA2LSB, ELFDATA2MSB
    unsigned machine;               // EM_...
    unsigned type;                  // ET_EXEC, ET_DYN, ...
    char *interpreter;              // the dynamic linker it asks for; NULL: none
    bool dynamic;                   // has a dynamic section
    bool symbolic;                  // DF_SYMBOLIC: what it defines itself it finds in itself
    bool pie;                       // an executable, although its type is ET_DYN
    bool no_default;                // DF_1_NODEFLIB: not from the default folders
    char *soname, *rpath, *runpath; // NULL: none
    char **needed;
    size_t needed_count;

    struct elf_file *file; // private
};

// Opens a file. Returns 0, -ENOEXEC for what is no ELF file, or another negative errno. `*out` is
// to be freed by object_free().
int object_open(const char *path, struct object **out);
void object_free(struct object *object);

// Whether both are for the same kind of machine, so that one could be loaded beside the other.
bool object_fits(const struct object *one, const struct object *other);

struct symbol {
    const char *name; // holds until the object is freed
    uint64_t value, size;
    bool defined, function;
    bool visible;     // others can bind to it: global or weak, neither hidden nor internal
    bool relocated;   // of .dynsym: the object itself refers to it by a relocation, so the linker's
                      // choice counts
    const void *code; // its bytes in the file; NULL: not there. `size` of them can be read
};

// Calls `visit` for each symbol that has a name: of .dynsym, or of .symtab. Ends when it returns
// false.
typedef bool symbol_visitor(const struct symbol *symbol, void *data);
void object_symbols(struct object *object, bool dynamic, symbol_visitor *visit, void *data);

// A string constant that names a library, as "libuv.so.1" or "/usr/lib/libuv.so": to be freed;
// NULL: none does. Looks where constants are: in sections that are loaded and hold neither code nor
// symbols' names.
char *object_names_library(struct object *object, const char *library);

#endif // SMOLSCALE_CLI_OBJECT_H
