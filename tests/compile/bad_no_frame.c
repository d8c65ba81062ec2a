// error: /smolscale_frame/
// The frame of an async function does not begin with SMOLSCALE_FRAME: it has none.
#include <smolscale_async.h>

struct right {
    SMOLSCALE_FRAME;
    int got;
};

struct without {
#ifndef WRONG
    SMOLSCALE_FRAME;
#endif
    int got;
};
SMOLSCALE_ASYNC(without, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_END;
}

int main(void)
{
    struct right unused = {.got = 0};
    return SMOLSCALE_BLOCK_ON(without, .got = unused.got);
}
