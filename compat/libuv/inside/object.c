// SPDX-License-Identifier: ISC
//
// The object reader (see object.h). Structures are copied out before they are looked at: what is
// read may lie at any address. Sums of what is read are checked by subtraction, so that none can
// overflow.

#include "object.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define THIS_MACHINE EM_AARCH64
#else
#define THIS_MACHINE EM_NONE
#endif

// More symbols than this in one hash chain, or entries in one table, are taken for damage.
#define CHAIN_MAX   (1u << 20)
#define ENTRIES_MAX (1u << 22)

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

const uint8_t *ss_object_at(const struct ss_object *object, uint64_t address, uint64_t size)
{
    for (unsigned i = 0; i < object->count; i++) {
        const struct ss_segment *s = &object->segment[i];
        if (address >= s->address && address - s->address < s->size &&
            size <= s->size - (address - s->address))
            return s->bytes + (address - s->address);
    }
    return NULL;
}

static bool fetch(const struct ss_object *object, uint64_t address, void *out, size_t size)
{
    const uint8_t *bytes = ss_object_at(object, address, size);

    if (bytes != NULL)
        memcpy(out, bytes, size);
    return bytes != NULL;
}

bool ss_object_is_code(const struct ss_object *object, uint64_t address)
{
    for (unsigned i = 0; i < object->count; i++) {
        const struct ss_segment *s = &object->segment[i];
        if (s->executable && address >= s->address && address - s->address < s->size)
            return true;
    }
    return false;
}

const char *ss_object_string(const struct ss_object *object, uint64_t offset)
{
    if (offset >= object->strings_size)
        return NULL;
    const uint8_t *text = ss_object_at(object, object->strings, object->strings_size);
    if (text == NULL || memchr(text + offset, '\0', object->strings_size - offset) == NULL)
        return NULL;
    return (const char *)text + offset;
}

// ---------------------------------------------------------------------------------------------
// What the program headers say
// ---------------------------------------------------------------------------------------------

// The loader has added the base to pointers of the dynamic section where that can be written to.
static uint64_t unrelocated(const struct ss_object *object, uint64_t pointer)
{
    if (ss_object_at(object, pointer, 1) == NULL &&
        ss_object_at(object, pointer - object->base, 1) != NULL)
        return pointer - object->base;
    return pointer;
}

static void read_dynamic(struct ss_object *object, uint64_t address, uint64_t size)
{
    Elf64_Dyn entry;

    for (uint64_t at = 0; at + sizeof(entry) <= size; at += sizeof(entry)) {
        if (!fetch(object, address + at, &entry, sizeof(entry)) || entry.d_tag == DT_NULL)
            return;
        uint64_t value = entry.d_un.d_val;
        switch (entry.d_tag) {
        case DT_GNU_HASH:
            object->gnu_hash = unrelocated(object, value);
            break;
        case DT_SYMTAB:
            object->symbols = unrelocated(object, value);
            break;
        case DT_STRTAB:
            object->strings = unrelocated(object, value);
            break;
        case DT_STRSZ:
            object->strings_size = value;
            break;
        case DT_JMPREL:
            object->plt_relocations = unrelocated(object, value);
            break;
        case DT_PLTRELSZ:
            object->plt_relocations_size = value;
            break;
        case DT_RELA:
            object->relocations = unrelocated(object, value);
            break;
        case DT_RELASZ:
            object->relocations_size = value;
            break;
        case DT_SONAME:
            object->name = value;
            break;
        default:
            break;
        }
    }
}

static bool add_segment(struct ss_object *object, const Elf64_Phdr *header, const uint8_t *bytes,
                        uint64_t size)
{
    if (!(header->p_flags & PF_R) || size == 0)
        return true; // cannot be read
    if (object->count == SS_OBJECT_SEGMENTS || header->p_vaddr > UINT64_MAX - size)
        return false;
    object->segment[object->count++] = (struct ss_segment){
        header->p_vaddr,
        size,
        bytes,
        (header->p_flags & (PF_X | PF_W)) == PF_X,
    };
    return true;
}

static void read_headers(struct ss_object *object, const Elf64_Phdr *headers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        Elf64_Phdr header;
        memcpy(&header, &headers[i], sizeof(header));
        if (header.p_type == PT_DYNAMIC)
            read_dynamic(object, header.p_vaddr, header.p_memsz);
        else if (header.p_type == PT_GNU_EH_FRAME)
            object->unwind_table = header.p_vaddr;
    }
}

bool ss_object_of_memory(struct ss_object *object, uintptr_t base, const Elf64_Phdr *headers,
                         unsigned count)
{
    *object = (struct ss_object){.machine = THIS_MACHINE, .base = base};
    if (THIS_MACHINE == EM_NONE)
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (headers[i].p_type == PT_LOAD &&
            !add_segment(object, &headers[i], (const uint8_t *)(base + headers[i].p_vaddr),
                         headers[i].p_memsz))
            return false;
    }
    read_headers(object, headers, count);
    return object->count > 0;
}

// ---------------------------------------------------------------------------------------------
// Files
// ---------------------------------------------------------------------------------------------

static const uint8_t *file_at(const struct ss_file *file, uint64_t offset, uint64_t size)
{
    if (offset > file->size || size > file->size - offset)
        return NULL;
    return file->bytes + offset;
}

static bool file_header(const struct ss_file *file, Elf64_Ehdr *header)
{
    const uint8_t *bytes = file_at(file, 0, sizeof(*header));

    if (bytes == NULL)
        return false;
    memcpy(header, bytes, sizeof(*header));
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
           (header->e_type == ET_EXEC || header->e_type == ET_DYN) &&
           header->e_phentsize == sizeof(Elf64_Phdr);
}

bool ss_object_of_file(struct ss_object *object, const struct ss_file *file)
{
    Elf64_Ehdr header;
    Elf64_Phdr headers[64];

    *object = (struct ss_object){.machine = EM_NONE};
    if (!file_header(file, &header) || header.e_phnum > sizeof(headers) / sizeof(headers[0]))
        return false;
    const uint8_t *table =
        file_at(file, header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr));
    if (table == NULL)
        return false;
    memcpy(headers, table, header.e_phnum * sizeof(Elf64_Phdr));
    object->machine = header.e_machine;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        if (headers[i].p_type != PT_LOAD)
            continue;
        const uint8_t *bytes = file_at(file, headers[i].p_offset, headers[i].p_filesz);
        if (bytes == NULL || !add_segment(object, &headers[i], bytes, headers[i].p_filesz))
            return false;
    }
    read_headers(object, headers, header.e_phnum);
    return object->count > 0;
}

bool ss_file_open(struct ss_file *file, const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *file = (struct ss_file){NULL, 0, false};
    if (fd < 0)
        return false;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED)
            *file = (struct ss_file){bytes, (size_t)status.st_size, true};
    }
    (void)close(fd);
    return file->mapped;
}

void ss_file_close(struct ss_file *file)
{
    if (file->mapped)
        (void)munmap((void *)(uintptr_t)file->bytes, file->size);
    *file = (struct ss_file){NULL, 0, false};
}

bool ss_file_has_headers(const struct ss_file *file, const Elf64_Phdr *headers, unsigned count)
{
    Elf64_Ehdr header;

    if (!file_header(file, &header) || header.e_machine != THIS_MACHINE || header.e_phnum != count)
        return false;
    const uint8_t *table = file_at(file, header.e_phoff, (uint64_t)count * sizeof(*headers));
    return table != NULL && memcmp(table, headers, count * sizeof(*headers)) == 0;
}

static bool is_defined_function(const Elf64_Sym *symbol)
{
    return symbol->st_shndx != SHN_UNDEF && symbol->st_shndx < SHN_LORESERVE &&
           ELF64_ST_TYPE(symbol->st_info) == STT_FUNC;
}

static bool section(const struct ss_file *file, const Elf64_Ehdr *header, unsigned index,
                    Elf64_Shdr *out)
{
    if (index >= header->e_shnum || header->e_shentsize != sizeof(*out) ||
        header->e_shoff > file->size)
        return false;
    const uint8_t *bytes =
        file_at(file, header->e_shoff + (uint64_t)index * sizeof(*out), sizeof(*out));
    if (bytes != NULL)
        memcpy(out, bytes, sizeof(*out));
    return bytes != NULL;
}

// Its symbols and strings; the strings end with a zero.
static bool symbol_table(const struct ss_file *file, Elf64_Shdr *symbols, Elf64_Shdr *strings)
{
    Elf64_Ehdr header;

    if (!file_header(file, &header))
        return false;
    for (unsigned i = 0; section(file, &header, i, symbols); i++) {
        if (symbols->sh_type != SHT_SYMTAB)
            continue;
        if (!section(file, &header, symbols->sh_link, strings) || strings->sh_type != SHT_STRTAB ||
            strings->sh_size == 0)
            return false;
        const uint8_t *text = file_at(file, strings->sh_offset, strings->sh_size);
        return file_at(file, symbols->sh_offset, symbols->sh_size) != NULL && text != NULL &&
               text[strings->sh_size - 1] == '\0';
    }
    return false;
}

bool ss_file_symbols(const struct ss_file *file, const char *prefix, ss_symbol_fn *each,
                     void *context)
{
    Elf64_Shdr symbols, strings;
    Elf64_Sym symbol;
    size_t length = strlen(prefix);

    if (!symbol_table(file, &symbols, &strings))
        return false;
    const char *text = (const char *)file->bytes + strings.sh_offset;
    // Most objects have no such name: this is a twentieth of the time that a look at each takes.
    if (memmem(text, strings.sh_size, prefix, length) == NULL)
        return true;
    for (uint64_t at = 0; at + sizeof(symbol) <= symbols.sh_size; at += sizeof(symbol)) {
        memcpy(&symbol, file->bytes + symbols.sh_offset + at, sizeof(symbol));
        if (symbol.st_shndx != SHN_UNDEF && symbol.st_name < strings.sh_size &&
            strncmp(text + symbol.st_name, prefix, length) == 0)
            each(context, text + symbol.st_name,
                 (struct ss_symbol){symbol.st_value, symbol.st_size, is_defined_function(&symbol),
                                    1});
    }
    return true;
}

// ---------------------------------------------------------------------------------------------
// Exported names
// ---------------------------------------------------------------------------------------------

static uint32_t gnu_hash(const char *name)
{
    uint32_t hash = 5381;

    for (; *name != '\0'; name++)
        hash = hash * 33 + (uint8_t)*name;
    return hash;
}

struct ss_symbol ss_object_export(const struct ss_object *object, const char *name)
{
    struct ss_symbol result = {0, 0, false, 0};
    struct {
        uint32_t buckets, first, words, shift;
    } table;
    uint32_t index, entry, hash = gnu_hash(name);

    if (object->gnu_hash == 0 || !fetch(object, object->gnu_hash, &table, sizeof(table)) ||
        table.buckets == 0)
        return result;
    uint64_t buckets = object->gnu_hash + sizeof(table) + (uint64_t)table.words * 8;
    uint64_t chains = buckets + (uint64_t)table.buckets * 4;
    if (!fetch(object, buckets + (uint64_t)(hash % table.buckets) * 4, &index, 4) ||
        index < table.first)
        return result;
    for (unsigned steps = 0; steps < CHAIN_MAX; steps++, index++) {
        Elf64_Sym symbol;
        if (!fetch(object, chains + (uint64_t)(index - table.first) * 4, &entry, 4))
            break;
        if (((entry ^ hash) >> 1) == 0 &&
            fetch(object, object->symbols + (uint64_t)index * sizeof(symbol), &symbol,
                  sizeof(symbol))) {
            const char *text = ss_object_string(object, symbol.st_name);
            if (text != NULL && strcmp(text, name) == 0 && symbol.st_shndx != SHN_UNDEF) {
                result.address = symbol.st_value;
                result.size = symbol.st_size;
                result.function = is_defined_function(&symbol);
                result.found++;
            }
        }
        if (entry & 1)
            break;
    }
    return result;
}

static const char *slot_name_in(const struct ss_object *object, uint64_t table, uint64_t size,
                                uint64_t slot)
{
    uint64_t entries = size / sizeof(Elf64_Rela);
    const uint8_t *bytes = ss_object_at(object, table, entries * sizeof(Elf64_Rela));
    Elf64_Rela relocation;
    Elf64_Sym symbol;

    if (bytes == NULL || entries > ENTRIES_MAX)
        return NULL;
    for (uint64_t i = 0; i < entries; i++) {
        memcpy(&relocation, bytes + i * sizeof(relocation), sizeof(relocation));
        if (relocation.r_offset == slot && ELF64_R_SYM(relocation.r_info) != 0)
            return fetch(object,
                         object->symbols + ELF64_R_SYM(relocation.r_info) * sizeof(Elf64_Sym),
                         &symbol, sizeof(symbol))
                       ? ss_object_string(object, symbol.st_name)
                       : NULL;
    }
    return NULL;
}

const char *ss_object_slot_name(const struct ss_object *object, uint64_t slot)
{
    const char *name =
        slot_name_in(object, object->plt_relocations, object->plt_relocations_size, slot);

    return name != NULL ? name
                        : slot_name_in(object, object->relocations, object->relocations_size, slot);
}

// ---------------------------------------------------------------------------------------------
// Unwind tables
//
// .eh_frame_hdr (LSB core specification): version 1, three encodings, the address of .eh_frame, the
// number of entries, and a sorted table of pairs (function, its description). Linkers write the one
// form that is read here: 4 bytes each, relative to the header. A description (FDE) has, after
// length and a distance to its common part (CIE), the function's address and its extent, in an
// encoding that the CIE names; compilers use "4 bytes, relative", the extent then being 4 bytes.
// ---------------------------------------------------------------------------------------------

#define DW_EH_PE_udata4  0x03
#define DW_EH_PE_sdata4  0x0b
#define DW_EH_PE_pcrel   0x10
#define DW_EH_PE_datarel 0x30

// Passes over a number of 7 bits a byte.
static bool skip_leb(const struct ss_object *object, uint64_t *at)
{
    uint8_t byte;

    for (unsigned i = 0; i < 10; i++) {
        if (!fetch(object, (*at)++, &byte, 1))
            return false;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

// Does this common part say that addresses are 4 bytes, relative?
static bool has_usual_encoding(const struct ss_object *object, uint64_t cie)
{
    // length 4, id 4, version 1, augmentation text
    uint64_t at = cie + 9;
    uint32_t id;
    uint8_t version, byte;
    char augmentation[8];
    unsigned n = 0;

    if (!fetch(object, cie + 4, &id, 4) || id != 0 || !fetch(object, cie + 8, &version, 1) ||
        (version != 1 && version != 3))
        return false;
    do {
        if (n == sizeof(augmentation) || !fetch(object, at++, &augmentation[n], 1))
            return false;
    } while (augmentation[n++] != '\0');
    // code and data alignment, return register (a byte in version 1), size of the data that follow
    if (augmentation[0] != 'z' || !skip_leb(object, &at) || !skip_leb(object, &at))
        return false;
    if (version == 1)
        at++;
    else if (!skip_leb(object, &at))
        return false;
    if (!skip_leb(object, &at))
        return false;
    for (const char *letter = augmentation + 1; *letter != '\0'; letter++) {
        if (!fetch(object, at, &byte, 1))
            return false;
        if (*letter == 'R')
            return byte == (DW_EH_PE_pcrel | DW_EH_PE_sdata4);
        if (*letter == 'P') { // encoding and address of the personality
            if ((byte & 0x0f) != DW_EH_PE_sdata4 && (byte & 0x0f) != DW_EH_PE_udata4)
                return false;
            at += 5;
        } else if (*letter == 'L') {
            at++;
        } else if (*letter != 'S' && *letter != 'B') {
            return false;
        }
    }
    return false;
}

uint64_t ss_object_function_size(const struct ss_object *object, uint64_t address)
{
    struct {
        uint8_t version, frame_encoding, count_encoding, table_encoding;
        int32_t frame;
        uint32_t count;
    } header;
    struct {
        int32_t function, description;
    } pair;
    struct {
        uint32_t length, cie;
        int32_t function;
        uint32_t size;
    } fde;

    if (object->unwind_table == 0 || !fetch(object, object->unwind_table, &header, 12) ||
        header.version != 1 || header.count_encoding != DW_EH_PE_udata4 ||
        header.table_encoding != (DW_EH_PE_datarel | DW_EH_PE_sdata4) ||
        (header.frame_encoding & 0x0f) != DW_EH_PE_sdata4)
        return 0;
    uint64_t table = object->unwind_table + 12, low = 0, high = header.count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (!fetch(object, table + middle * 8, &pair, sizeof(pair)))
            return 0;
        uint64_t function = object->unwind_table + (uint64_t)(int64_t)pair.function;
        if (function == address) {
            uint64_t at = object->unwind_table + (uint64_t)(int64_t)pair.description;
            if (!fetch(object, at, &fde, sizeof(fde)) ||
                !has_usual_encoding(object, at + 4 - fde.cie) ||
                at + 8 + (uint64_t)(int64_t)fde.function != address)
                return 0;
            return fde.size;
        }
        if (function < address)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}
