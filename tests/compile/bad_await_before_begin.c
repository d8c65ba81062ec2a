// error: /smolscale_f_/
// An await stands before SMOLSCALE_BEGIN.
#include <smolscale_async.h>

struct right {
    SMOLSCALE_FRAME;
    int got;
};

SMOLSCALE_ASYNC(right, f)
{
#ifdef WRONG
    SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, 1));
#endif
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, 1));
    SMOLSCALE_END;
}

int main(void)
{
    return SMOLSCALE_BLOCK_ON(right, .got = 0);
}
