// SPDX-License-Identifier: ISC
//
// The dynamic section is found by the program headers, as the dynamic linker finds it; symbols,
// relocations and constants by the section headers, which a file may lack: then it has none for us.

#include "object.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct elf_file {
    int fd;
    Elf *elf;
    const char *bytes; // the whole file
    size_t size;
    bool *relocated; // by the number of the symbol in .dynsym; NULL: not looked yet
    size_t relocated_count;
};

// ---- opening ----

// The text at an offset of the file, if it ends within it.
static const char *text_at(const struct elf_file *file, uint64_t offset)
{
    if (offset >= file->size || !memchr(file->bytes + offset, '\0', file->size - offset))
        return NULL;
    return file->bytes + offset;
}

static char *copy_at(const struct elf_file *file, uint64_t offset)
{
    const char *text = text_at(file, offset);
    return text && *text ? must_copy(text) : NULL;
}

// Where an address is in the file; UINT64_MAX: nowhere.
static uint64_t offset_of(Elf *elf, uint64_t address)
{
    size_t count;
    if (elf_getphdrnum(elf, &count))
        return UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr header;
        if (gelf_getphdr(elf, (int)i, &header) && header.p_type == PT_LOAD &&
            address >= header.p_vaddr && address - header.p_vaddr < header.p_filesz)
            return header.p_offset + (address - header.p_vaddr);
    }
    return UINT64_MAX;
}

static void read_dynamic(struct object *object, const GElf_Phdr *header)
{
    struct elf_file *file = object->file;
    if (header->p_offset > file->size || header->p_filesz > file->size - header->p_offset)
        return;
    Elf_Data *data = elf_getdata_rawchunk(file->elf, (int64_t)header->p_offset,
                                          (size_t)header->p_filesz, ELF_T_DYN);
    if (!data)
        return;
    object->dynamic = true;
    size_t size = gelf_fsize(file->elf, ELF_T_DYN, 1, EV_CURRENT);
    size_t count = size ? data->d_size / size : 0;
    GElf_Dyn entry;
    uint64_t strings = UINT64_MAX;
    for (size_t i = 0; i < count && gelf_getdyn(data, (int)i, &entry) && entry.d_tag; i++) {
        if (entry.d_tag == DT_STRTAB)
            strings = offset_of(file->elf, entry.d_un.d_ptr);
    }
    for (size_t i = 0; i < count && gelf_getdyn(data, (int)i, &entry) && entry.d_tag; i++) {
        uint64_t at = strings >= file->size || entry.d_un.d_val >= file->size
                          ? UINT64_MAX
                          : strings + entry.d_un.d_val;
        char **text = entry.d_tag == DT_SONAME    ? &object->soname
                      : entry.d_tag == DT_RPATH   ? &object->rpath
                      : entry.d_tag == DT_RUNPATH ? &object->runpath
                                                  : NULL;
        if (text && !*text)
            *text = copy_at(file, at);
        char *needed = entry.d_tag == DT_NEEDED ? copy_at(file, at) : NULL;
        if (needed) {
            object->needed =
                must_grow(object->needed, object->needed_count + 1, sizeof *object->needed);
            object->needed[object->needed_count++] = needed;
        }
        if (entry.d_tag == DT_SYMBOLIC ||
            (entry.d_tag == DT_FLAGS && entry.d_un.d_val & DF_SYMBOLIC))
            object->symbolic = true;
        if (entry.d_tag == DT_FLAGS_1) {
            object->pie = entry.d_un.d_val & DF_1_PIE;
            object->no_default = entry.d_un.d_val & DF_1_NODEFLIB;
        }
    }
}

static int read_headers(struct object *object)
{
    struct elf_file *file = object->file;
    GElf_Ehdr header;
    size_t count;
    if (elf_kind(file->elf) != ELF_K_ELF || !gelf_getehdr(file->elf, &header) ||
        !(file->bytes = elf_rawfile(file->elf, &file->size)))
        return -ENOEXEC;
    object->elf_class = header.e_ident[EI_CLASS];
    object->encoding = header.e_ident[EI_DATA];
    object->machine = header.e_machine;
    object->type = header.e_type;
    if (elf_getphdrnum(file->elf, &count))
        return 0;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr segment;
        if (!gelf_getphdr(file->elf, (int)i, &segment))
            break;
        if (segment.p_type == PT_INTERP && !object->interpreter)
            object->interpreter = copy_at(file, segment.p_offset);
        if (segment.p_type == PT_DYNAMIC && !object->dynamic)
            read_dynamic(object, &segment);
    }
    return 0;
}

int object_open(const char *path, struct object **out)
{
    *out = NULL;
    elf_version(EV_CURRENT);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    struct stat stat;
    if (fstat(fd, &stat) || !S_ISREG(stat.st_mode)) {
        close(fd);
        return -ENOEXEC;
    }
    struct object *object = must_alloc(sizeof *object);
    object->path = must_copy(path);
    object->file = must_alloc(sizeof *object->file);
    object->file->fd = fd;
    object->file->elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    int err = object->file->elf ? read_headers(object) : -ENOEXEC;
    if (err) {
        object_free(object);
        return err;
    }
    *out = object;
    return 0;
}

void object_free(struct object *object)
{
    if (!object)
        return;
    elf_end(object->file->elf);
    close(object->file->fd);
    free(object->file->relocated);
    free(object->file);
    for (size_t i = 0; i < object->needed_count; i++)
        free(object->needed[i]);
    free(object->needed);
    free(object->path);
    free(object->interpreter);
    free(object->soname);
    free(object->rpath);
    free(object->runpath);
    free(object);
}

bool object_fits(const struct object *one, const struct object *other)
{
    return one->elf_class == other->elf_class && one->encoding == other->encoding &&
           one->machine == other->machine;
}

// ---- symbols ----

static Elf_Scn *find_section(Elf *elf, uint32_t type, GElf_Shdr *header)
{
    Elf_Scn *section = NULL;
    while ((section = elf_nextscn(elf, section))) {
        if (gelf_getshdr(section, header) && header->sh_type == type)
            return section;
    }
    return NULL;
}

static void note_relocations(struct elf_file *file, Elf_Scn *section, const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL);
    if (!data || !header->sh_entsize)
        return;
    size_t count = data->d_size / header->sh_entsize;
    for (size_t i = 0; i < count; i++) {
        GElf_Rela rela;
        GElf_Rel rel;
        uint64_t info;
        if (header->sh_type == SHT_RELA && gelf_getrela(data, (int)i, &rela))
            info = rela.r_info;
        else if (header->sh_type == SHT_REL && gelf_getrel(data, (int)i, &rel))
            info = rel.r_info;
        else
            return;
        size_t number = GELF_R_SYM(info);
        if (number < file->relocated_count)
            file->relocated[number] = true;
    }
}

static void find_relocated(struct elf_file *file, size_t dynsym_index, size_t count)
{
    if (file->relocated)
        return;
    file->relocated = must_alloc(count * sizeof *file->relocated);
    file->relocated_count = count;
    Elf_Scn *section = NULL;
    GElf_Shdr header;
    while ((section = elf_nextscn(file->elf, section))) {
        if (gelf_getshdr(section, &header) && header.sh_link == dynsym_index &&
            (header.sh_type == SHT_RELA || header.sh_type == SHT_REL))
            note_relocations(file, section, &header);
    }
}

// The bytes of a function in the file. In an object that is loaded, a symbol's value is an address.
static const void *code_of(const struct elf_file *file, const GElf_Sym *symbol)
{
    uint64_t offset = offset_of(file->elf, symbol->st_value);
    if (!symbol->st_size || offset >= file->size || symbol->st_size > file->size - offset)
        return NULL;
    return file->bytes + offset;
}

void object_symbols(struct object *object, bool dynamic, symbol_visitor *visit, void *data)
{
    struct elf_file *file = object->file;
    GElf_Shdr header, strings_header;
    Elf_Scn *section = find_section(file->elf, dynamic ? SHT_DYNSYM : SHT_SYMTAB, &header);
    Elf_Data *symbols = section ? elf_getdata(section, NULL) : NULL;
    Elf_Scn *strings = symbols ? elf_getscn(file->elf, header.sh_link) : NULL;
    if (!strings || !gelf_getshdr(strings, &strings_header) || !header.sh_entsize)
        return;
    size_t count = symbols->d_size / header.sh_entsize;
    if (dynamic)
        find_relocated(file, elf_ndxscn(section), count);
    for (size_t i = 1; i < count; i++) {
        GElf_Sym entry;
        if (!gelf_getsym(symbols, (int)i, &entry))
            return;
        // A name that does not end within its table is none.
        const char *name = entry.st_name < strings_header.sh_size
                               ? text_at(file, strings_header.sh_offset + entry.st_name)
                               : NULL;
        if (!name || !*name)
            continue;
        int bind = GELF_ST_BIND(entry.st_info), type = GELF_ST_TYPE(entry.st_info);
        int visibility = GELF_ST_VISIBILITY(entry.st_other);
        struct symbol symbol = {
            .name = name,
            .value = entry.st_value,
            .size = entry.st_size,
            .defined = entry.st_shndx != SHN_UNDEF,
            .function = type == STT_FUNC || type == STT_GNU_IFUNC,
            .visible = dynamic && bind != STB_LOCAL &&
                       (visibility == STV_DEFAULT || visibility == STV_PROTECTED),
            .relocated = dynamic && i < file->relocated_count && file->relocated[i],
        };
        if (symbol.defined && symbol.function)
            symbol.code = code_of(file, &entry);
        if (!visit(&symbol, data))
            return;
    }
}

// ---- constants ----

// The constant that has the name at its end, after a slash at most, and no more behind it than a
// version.
static char *search(const char *bytes, size_t size, const char *name)
{
    size_t length = strlen(name);
    const char *end = bytes + size;
    for (const char *at = bytes; at < end; at += length) {
        at = memmem(at, (size_t)(end - at), name, length);
        if (!at || !memchr(at, '\0', (size_t)(end - at)))
            return NULL;
        const char *first = at;
        while (first > bytes && first[-1] > ' ' && first[-1] <= '~')
            first--;
        bool begins = first == bytes || first[-1] == '\0';
        bool whole = first == at || at[-1] == '/';
        size_t version = strspn(at + length, ".0123456789");
        if (begins && whole && at[length + version] == '\0' && (!version || at[length] == '.'))
            return must_copy(first);
    }
    return NULL;
}

char *object_names_library(struct object *object, const char *library)
{
    struct elf_file *file = object->file;
    Elf_Scn *section = NULL;
    GElf_Shdr header;
    while ((section = elf_nextscn(file->elf, section))) {
        if (!gelf_getshdr(section, &header) || header.sh_type != SHT_PROGBITS ||
            !(header.sh_flags & SHF_ALLOC) || header.sh_flags & SHF_EXECINSTR ||
            header.sh_offset > file->size || header.sh_size > file->size - header.sh_offset)
            continue;
        char *found = search(file->bytes + header.sh_offset, (size_t)header.sh_size, library);
        if (found)
            return found;
    }
    return NULL;
}
