// SPDX-License-Identifier: ISC
//
// Whom a function calls (see code.h).

#include "code.h"

#include <string.h>

// ---------------------------------------------------------------------------------------------
// x86-64
// ---------------------------------------------------------------------------------------------

static uint64_t x86_relative(const uint8_t *code, uint64_t after)
{
    int32_t distance;

    memcpy(&distance, code, sizeof(distance));
    return after + (uint64_t)(int64_t)distance;
}

// jmp *slot(%rip), after endbr64 and a bnd prefix if there are any.
static uint64_t x86_stub_slot(const struct ss_object *object, uint64_t address)
{
    static const uint8_t endbr[] = {0xf3, 0x0f, 0x1e, 0xfa};
    const uint8_t *code = ss_object_at(object, address, 11);
    unsigned at = 0;

    if (code == NULL)
        return 0;
    if (memcmp(code, endbr, sizeof(endbr)) == 0)
        at = sizeof(endbr);
    if (code[at] == 0xf2)
        at++;
    if (code[at] != 0xff || code[at + 1] != 0x25)
        return 0;
    return x86_relative(code + at + 2, address + at + 6);
}

// ---------------------------------------------------------------------------------------------
// arm64
// ---------------------------------------------------------------------------------------------

static uint32_t arm_instruction(const uint8_t *code)
{
    uint32_t instruction;

    memcpy(&instruction, code, sizeof(instruction));
    return instruction;
}

static bool arm_is_branch(uint32_t instruction)
{
    return (instruction & 0x7c000000u) == 0x14000000u; // B, BL
}

static uint64_t arm_branch_target(uint32_t instruction, uint64_t address)
{
    uint64_t words = instruction & 0x03ffffffu;

    if (words & 0x02000000u)
        words |= ~UINT64_C(0x03ffffff);
    return address + words * 4;
}

// adrp x16, page; ldr x17, [x16, offset]; after bti c if there is one.
static uint64_t arm_stub_slot(const struct ss_object *object, uint64_t address)
{
    const uint8_t *code = ss_object_at(object, address, 12);

    if (code == NULL)
        return 0;
    if (arm_instruction(code) == 0xd503245fu) {
        code += 4;
        address += 4;
    }
    uint32_t adrp = arm_instruction(code), load = arm_instruction(code + 4);
    if ((adrp & 0x9f00001fu) != 0x90000010u || (load & 0xffc003ffu) != 0xf9400211u)
        return 0;
    uint64_t pages = ((adrp >> 5 & 0x7ffffu) << 2) | (adrp >> 29 & 3u);
    if (pages & 0x100000u)
        pages |= ~UINT64_C(0x1fffff);
    return (address & ~UINT64_C(0xfff)) + (pages << 12) + (load >> 10 & 0xfffu) * 8;
}

// ---------------------------------------------------------------------------------------------
// Either
// ---------------------------------------------------------------------------------------------

void ss_code_targets(const struct ss_object *object, uint64_t function, uint64_t size,
                     ss_target_fn *each, void *context)
{
    const uint8_t *code = ss_object_at(object, function, size);
    uint64_t target;

    if (code == NULL)
        return;
    if (object->machine == EM_X86_64) {
        for (uint64_t at = 0; at + 5 <= size; at++) {
            if (code[at] != 0xe8 && code[at] != 0xe9)
                continue;
            target = x86_relative(code + at + 1, function + at + 5);
            if (ss_object_is_code(object, target) && !each(context, target))
                return;
        }
    } else if (object->machine == EM_AARCH64) {
        for (uint64_t at = 0; at + 4 <= size; at += 4) {
            uint32_t instruction = arm_instruction(code + at);
            if (!arm_is_branch(instruction))
                continue;
            target = arm_branch_target(instruction, function + at);
            if (ss_object_is_code(object, target) && !each(context, target))
                return;
        }
    }
}

uint64_t ss_code_stub_slot(const struct ss_object *object, uint64_t address)
{
    return object->machine == EM_X86_64    ? x86_stub_slot(object, address)
           : object->machine == EM_AARCH64 ? arm_stub_slot(object, address)
                                           : 0;
}

struct wanted {
    const struct ss_object *object;
    const char *name; // NULL: the address alone
    uint64_t address;
    bool found;
};

static bool is_name(const struct wanted *wanted, uint64_t slot)
{
    const char *name = slot != 0 ? ss_object_slot_name(wanted->object, slot) : NULL;

    return name != NULL && strcmp(name, wanted->name) == 0;
}

static bool look(void *context, uint64_t target)
{
    struct wanted *wanted = context;

    wanted->found =
        (wanted->address != 0 && target == wanted->address) ||
        (wanted->name != NULL && is_name(wanted, ss_code_stub_slot(wanted->object, target)));
    return !wanted->found;
}

bool ss_code_calls(const struct ss_object *object, uint64_t function, uint64_t size,
                   uint64_t target)
{
    struct wanted wanted = {object, NULL, target, false};

    ss_code_targets(object, function, size, look, &wanted);
    return wanted.found;
}

// call *slot(%rip), jmp *slot(%rip): programs built without a linkage table.
static bool x86_calls_through_slot(const struct wanted *wanted, uint64_t function, uint64_t size)
{
    const uint8_t *code = ss_object_at(wanted->object, function, size);

    for (uint64_t at = 0; code != NULL && at + 6 <= size; at++) {
        if (code[at] == 0xff && (code[at + 1] == 0x15 || code[at + 1] == 0x25) &&
            is_name(wanted, x86_relative(code + at + 2, function + at + 6)))
            return true;
    }
    return false;
}

bool ss_code_calls_name(const struct ss_object *object, uint64_t function, uint64_t size,
                        const char *name, uint64_t address)
{
    struct wanted wanted = {object, name, address, false};

    ss_code_targets(object, function, size, look, &wanted);
    return wanted.found ||
           (object->machine == EM_X86_64 && x86_calls_through_slot(&wanted, function, size));
}
