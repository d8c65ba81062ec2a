// error: /smolscale_f_/
// An await stands in a function that is not async.
#include <smolscale_async.h>

struct right {
    SMOLSCALE_FRAME;
    int got;
};

static int plain(smolscale_cx *cx, struct right *f)
{
#ifdef WRONG
    SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, 1));
#endif
    return smolscale_interrupted(cx) + f->got;
}
SMOLSCALE_ASYNC(right, f)
{
    SMOLSCALE_BEGIN(f);
    f->got = plain(cx, f);
    SMOLSCALE_END;
}

int main(void)
{
    return SMOLSCALE_BLOCK_ON(right, .got = 0);
}
