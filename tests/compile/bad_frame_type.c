// error: /incompatible|assigning|cannot convert|initializ/
// An async function is begun with another's frame.
#include <smolscale_async.h>

struct right {
    SMOLSCALE_FRAME;
    int got;
};

struct other {
    SMOLSCALE_FRAME;
    int got;
};
SMOLSCALE_ASYNC(right, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_END;
}

struct caller {
    SMOLSCALE_FRAME;
#ifdef WRONG
    struct other callee;
#else
    struct right callee;
#endif
    struct other unused;
    int got;
};
SMOLSCALE_ASYNC(caller, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_CALL(f->got, right, f->callee, .got = 0);
    SMOLSCALE_END;
}

int main(void)
{
    return SMOLSCALE_BLOCK_ON(caller, .got = 0);
}
