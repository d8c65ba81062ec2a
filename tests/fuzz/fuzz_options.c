// SPDX-License-Identifier: ISC
//
// Fuzzes what reads the SMOLSCALE_* variables: any text is a value or is answered by one printable line, the
// value is one of those that the option may have, and costs stay within their bounds. The input is a number, the
// option's, and the text. Both sources are within this file, because they read once for each process.

#include "os/options.c"

#define table      cost_table
#define complain   complain_of_cost
#define init       init_costs
#define after_fork after_fork_costs
#include "sched/costs.c"
#undef table

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
const char *__wrap_ss_process_environment(const char *name);
bool __wrap_ss_process_is_privileged(void);
void __wrap_ss_write_to_stderr(const char *line);

static const char *set_name, *set_text;
static unsigned lines;

const char *__wrap_ss_process_environment(const char *name)
{
    return strcmp(name, set_name) == 0 ? set_text : NULL;
}

bool __wrap_ss_process_is_privileged(void)
{
    return false;
}

void __wrap_ss_write_to_stderr(const char *line)
{
    lines++;
    size_t length = strlen(line);
    assert(length > 0 && line[length - 1] == '\n');
    for (size_t i = 0; i + 1 < length; i++)
        assert(line[i] >= ' ' && line[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char text[512] = "";
    if (size < 1 || size > sizeof text)
        return 0;
    memcpy(text, bytes + 1, size - 1);
    enum ss_option_id id = bytes[0] % SS_OPTION_COUNT;
    const struct option *o = &table[id];
    set_name = o->name, set_text = text, lines = 0;
    store_relaxed(&options.ready, 0);
    memset(options.text, 0, sizeof options.text);
    long value = ss_option(id);
    assert(lines <= (*text && o->kind != TEXT));
    assert(lines == 0 || value == o->fallback);
    assert(o->kind == TEXT || (value >= o->min && value <= o->max));
    assert(ss_option_text(id) == (*text ? text : NULL));

    uint32_t costs[SS_COST_COUNT];
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        costs[i] = cost_table[i].a;
    lines = 0;
    assert(read_costs(text, costs) == (lines == 0) && lines <= 1);
    for (unsigned i = 0; i < SS_COST_COUNT; i++)
        assert(costs[i] >= cost_table[i].least && costs[i] <= cost_table[i].most);
    return 0;
}
