// error: /smolscale_f_/
// An async function ends that has not begun.
#include <smolscale_async.h>

struct right {
    SMOLSCALE_FRAME;
    int got;
};

SMOLSCALE_ASYNC(right, f)
{
#ifndef WRONG
    SMOLSCALE_BEGIN(f);
#else
    {
#endif
    f->got = 0;
    SMOLSCALE_END;
}

int main(void)
{
    return SMOLSCALE_BLOCK_ON(right, .got = 0);
}
