// error: /plain/
// A function that is not async is called as one.
#include <smolscale_async.h>

struct right {
    SMOLSCALE_FRAME;
    int got;
};

static int plain(void)
{
    return 0;
}
SMOLSCALE_ASYNC(right, f)
{
    SMOLSCALE_BEGIN(f);
    f->got = plain();
    SMOLSCALE_END;
}

struct caller {
    SMOLSCALE_FRAME;
    struct right callee;
    int got;
};
SMOLSCALE_ASYNC(caller, f)
{
    SMOLSCALE_BEGIN(f);
#ifdef WRONG
    SMOLSCALE_CALL(f->got, plain, f->callee, .got = 0);
#endif
    SMOLSCALE_CALL(f->got, right, f->callee, .got = 0);
    SMOLSCALE_END;
}

int main(void)
{
    return SMOLSCALE_BLOCK_ON(caller, .got = 0);
}
