// SPDX-License-Identifier: ISC
//
// Fuzzes the object reader and the finder: any file, taken for an object, must be read without
// touching what is not its own, in bounded time. Built with clang -fsanitize=fuzzer (run); with
// -DREPLAY into a program that runs the files it is given once.

#include <stdlib.h>
#include <string.h>

#include "code.h"
#include "finder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void count_symbol(void *context, const char *name, struct ss_symbol symbol)
{
    *(uint64_t *)context += strlen(name) + symbol.size;
}

static bool count_target(void *context, uint64_t target)
{
    *(uint64_t *)context += target;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ss_file file = {bytes, size, false};
    struct ss_object object;
    struct ss_found found;
    uint64_t sum = 0;

    (void)ss_file_symbols(&file, "uv_", count_symbol, &sum);
    if (!ss_object_of_file(&object, &file))
        return 0;
    (void)ss_find(&found, &object, &file);
    (void)ss_find(&found, &object, NULL);
    (void)ss_object_slot_name(&object, object.segment[0].address);
    for (uint64_t at = 0; at < 64; at++) {
        uint64_t address = object.segment[at % object.count].address + at * 16;
        (void)ss_object_function_size(&object, address);
        (void)ss_code_stub_slot(&object, address);
        ss_code_targets(&object, address, 64, count_target, &sum);
    }
    return 0;
}

#ifdef REPLAY
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct ss_file file;
        if (!ss_file_open(&file, argv[i]))
            return EXIT_FAILURE;
        LLVMFuzzerTestOneInput(file.bytes, file.size);
        ss_file_close(&file);
    }
    return EXIT_SUCCESS;
}
#endif
