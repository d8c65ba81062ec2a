// SPDX-License-Identifier: ISC
//
// libsmolscale-uv.so: preloaded into programs that load libuv.so.1, it moves user work, file
// system, name look-ups and random to smolscale. The program's libuv stays in charge of everything
// else.
//
// User work is public from end to end: uv_queue_work() here submits to our pool and libuv's is not
// touched.
//
// The others reach libuv's pool by a function that libuv hides. So its own uv_fs_stat() and so on
// run as they are, with all they do to request, path and buffers, up to the request's place in the
// queue of a pool that has no threads; there we take it out and submit it to ours:
//
// First, libuv starts its pool by uv_once(), uv_mutex_init(), uv_thread_create(), all public and
// called through its procedure linkage table, so they are ours to answer: we note the mutex and the
// threads' function, and start no thread (a thread created by libuv's own code inside of uv_once()
// is a pool thread).
//
// Second, each submission begins with that uv_once(); seeing it inside of a call of uv_fs_stat()
// tells that the request was queued, rather than refused or given to io_uring.
//
// Third, when uv_fs_stat() is back, we unlink the request under libuv's mutex.
//
// What finishes goes back by libuv's own uv__work_done(), found as the callback of loop->wq_async,
// in whose place we put ours: it moves our finished requests into loop->wq and calls it. So libuv's
// own book-keeping stays right.
//
// A submission outside of the functions we know (libuv falls back from io_uring to its pool, or a
// function newer than this file) makes libuv's threads start after all, late, and they serve just
// those requests.
//
// A libuv built so that its internal calls cannot be interposed is served for uv_queue_work() only.
//
// A process may have several libuvs: beside the libuv.so.1 that the program is linked with,
// plug-ins bring libuvs of their own, whose calls come here through the plug-in's linkage table.
// Each call is passed on to the libuv that made the loop it is about; one that is about no loop to
// the libuv that it would have been bound to without us. Each libuv has a record here, from the
// first request on until it is unloaded.
//
// Locks: `libuvs_lock`, for new records, under which the loader is asked; each record's
// `native_lock`, for starting libuv's threads; libuv's pool mutex and loop->wq_mutex as libuv
// itself takes them.

#include "pool.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.h"
#include "inside/capture.h"
#include "smolscale.h"

#define MAX_LIBUVS  16
#define MAX_CALLERS 32

// The versions whose structures are those of our uv.h. Newer ones are asked for the sizes of
// theirs.
#define OLDEST_VERSION 0x012900u
#define NEXT_MAJOR     0x020000u

// libuv's public functions, by their names.
struct functions {
#define POOL_FUNCTION(kind, request, name, parameters, arguments) __typeof__(&(name)) name;
#include "preload_functions.h"
#undef POOL_FUNCTION
    __typeof__(&uv_async_send) uv_async_send;
    __typeof__(&uv_cancel) uv_cancel;
    __typeof__(&uv_library_shutdown) uv_library_shutdown;
    __typeof__(&uv_mutex_init) uv_mutex_init;
    __typeof__(&uv_once) uv_once;
    __typeof__(&uv_queue_work) uv_queue_work;
    __typeof__(&uv_sem_init) uv_sem_init;
    __typeof__(&uv_sem_post) uv_sem_post;
    __typeof__(&uv_thread_create) uv_thread_create;
    __typeof__(&uv_thread_create_ex) uv_thread_create_ex;
    __typeof__(&uv_thread_join) uv_thread_join;
};

typedef void done_function(struct uv__work *w, int status);

// A libuv in the process.
struct libuv {
    struct ss_uv_pool pool; // first, so that a loop's pool leads here

    // Odd: it is loaded. Readers of the next two look at it before and after; changed under
    // libuvs_lock.
    unsigned version;
    uintptr_t begin, end; // where its object lies

    struct link_map *map;
    bool ours;   // its work is ours; else all is left to it: SMOLSCALE_DISABLE, unknown structures
    bool hooked; // its destructor is ours; else it is never unloaded
    struct functions own; // those that were asked for
    uv_async_cb work_done;
    done_function *done_uv_fs_t, *done_uv_getaddrinfo_t, *done_uv_getnameinfo_t, *done_uv_random_t;

    // Its own pool. Written inside of its uv_once(), and so visible to a thread that has passed it.
    uv_once_t *once;
    uv_mutex_t *mutex;
    uv_thread_cb worker;
    uv_thread_t *threads; // its array
    unsigned count;
    pthread_mutex_t native_lock;
    unsigned started;  // of these, after all; native_lock
    uv_sem_t check_in; // that these post when they begin, and nobody waits for
};

static struct libuv libuvs[MAX_LIBUVS];
static unsigned libuvs_used; // the first so many were in use
static pthread_mutex_t libuvs_lock = PTHREAD_MUTEX_INITIALIZER;

// Of which libuv the objects are that call functions that are about no loop: the address of the
// loader's record of the object, with the libuv's number in the lowest bits. Emptied whenever a
// libuv is unloaded.
static uintptr_t callers[MAX_CALLERS];

_Static_assert(MAX_LIBUVS <= 16, "a malloc'ed address has four bits to spare");

// What the calling thread is in the middle of.
static SS_THREAD_LOCAL struct {
    struct libuv *served;  // a call of uv_once(), for this libuv
    uv_once_t *once;       // which initialises this
    uv_mutex_t *mutex;     // the first mutex initialised in it
    unsigned threads;      // pool threads asked for in it
    struct libuv *request; // a function of preload_functions.h, with a callback, of this libuv
    bool submitted;        // it has submitted to libuv's pool
    bool forwarding;       // a call of ours to libuv, which submits nothing
    bool native_worker;    // the thread is one of libuv's pool after all
} here;

#define CALLER __builtin_return_address(0)

#ifdef DLFO_EH_SEGMENT_TYPE
#pragma weak _dl_find_object // since glibc 2.35
#endif

static bool disabled(void)
{
    static int answer; // 0: not asked yet
    int known = word_load_relaxed(&answer);

    if (__builtin_expect(known == 0, 0)) {
        known = smolscale_disabled() ? 1 : 2;
        word_store_relaxed(&answer, known);
    }
    return known == 1;
}

// ---------------------------------------------------------------------------------------------
// The libuvs of the process
// ---------------------------------------------------------------------------------------------

// The libuv whose object has this address, among those known. Free of locks.
static struct libuv *known_libuv(const void *address)
{
    unsigned used = word_load_acquire(&libuvs_used);

    for (unsigned i = 0; i < used; i++) {
        struct libuv *uv = &libuvs[i];
        unsigned version = word_load_acquire(&uv->version);
        uintptr_t begin = word_load_relaxed(&uv->begin);
        uintptr_t end = word_load_relaxed(&uv->end);
        // The range is of that version: pairs with the fence in publish().
        fence_acquire();
        if ((version & 1) != 0 && (uintptr_t)address - begin < end - begin &&
            word_load_relaxed(&uv->version) == version)
            return uv;
    }
    return NULL;
}

// The object that has an address, as the loader has it.
struct object {
    uintptr_t address;
    uintptr_t begin, end, base;
    const ElfW(Dyn) * dynamic;
    uintptr_t sealed, sealed_end; // made read-only after relocation
    struct link_map *map;
};

static int note_object(struct dl_phdr_info *info, size_t size, void *data)
{
    struct object *object = data;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = UINTPTR_MAX, end = 0;
    bool found = false;

    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t first = info->dlpi_addr + segment->p_vaddr;
        uintptr_t last = first + segment->p_memsz;
        if (segment->p_type != PT_LOAD)
            continue;
        begin = first < begin ? first : begin;
        end = last > end ? last : end;
        found |= object->address - first < segment->p_memsz;
    }
    if (!found)
        return 0;
    *object = (struct object){.address = object->address, .begin = begin, .end = end};
    object->base = info->dlpi_addr;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t first = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_DYNAMIC)
            object->dynamic = (const ElfW(Dyn) *)first;
        if (segment->p_type == PT_GNU_RELRO) {
            object->sealed = first & ~(page - 1);
            object->sealed_end = (first + segment->p_memsz) & ~(page - 1);
        }
    }
    return 1;
}

static bool find_object(const void *address, struct object *object)
{
    Dl_info info;
    void *map = NULL;

    *object = (struct object){.address = (uintptr_t)address};
    if (dl_iterate_phdr(note_object, object) == 0 ||
        dladdr1(address, &info, &map, RTLD_DL_LINKMAP) == 0)
        return false;
    object->map = map;
    return map != NULL;
}

// A handle of a loaded object, by the name that the loader knows it by. What calls us is not closed
// meanwhile.
static void *open_object(const struct link_map *map)
{
    return dlopen(map->l_name[0] != '\0' ? map->l_name : NULL, RTLD_LAZY | RTLD_NOLOAD);
}

// What a function's name means to an object and what it was linked with.
static void *lookup(const struct link_map *map, const char *name)
{
    void *handle = open_object(map);
    void *function = handle != NULL ? dlsym(handle, name) : NULL;

    if (handle != NULL)
        dlclose(handle);
    return function;
}

// An object's own definition of a function; NULL: it has none.
static void *definition(const struct object *object, const char *name)
{
    void *function = lookup(object->map, name);

    return (uintptr_t)function - object->begin < object->end - object->begin ? function : NULL;
}

// Are its structures those we know?
static bool fits(const struct object *object)
{
    __typeof__(&uv_version) version = (__typeof__(version))definition(object, "uv_version");
    __typeof__(&uv_loop_size) loop = (__typeof__(loop))definition(object, "uv_loop_size");
    __typeof__(&uv_req_size) req = (__typeof__(req))definition(object, "uv_req_size");
    __typeof__(&uv_handle_size) handle = (__typeof__(handle))definition(object, "uv_handle_size");

    return version != NULL && version() >= OLDEST_VERSION && version() < NEXT_MAJOR &&
           loop != NULL && loop() == sizeof(uv_loop_t) && handle != NULL &&
           handle(UV_ASYNC) == sizeof(uv_async_t) && req != NULL &&
           req(UV_WORK) == sizeof(uv_work_t) && req(UV_FS) == sizeof(uv_fs_t) &&
           req(UV_GETADDRINFO) == sizeof(uv_getaddrinfo_t) &&
           req(UV_GETNAMEINFO) == sizeof(uv_getnameinfo_t) && req(UV_RANDOM) == sizeof(uv_random_t);
}

// Both: libuvs_lock.
static void publish(struct libuv *uv, const struct object *object)
{
    // A reader that sees the new range after an old version sees that the version is over.
    fence_release();
    word_store_relaxed(&uv->begin, object->begin);
    word_store_relaxed(&uv->end, object->end);
    word_store_release(&uv->version, uv->version + 1);
}

static void retire(struct libuv *uv)
{
    word_store_relaxed(&uv->version, uv->version + 1);
    for (unsigned i = 0; i < MAX_CALLERS; i++)
        word_store_relaxed(&callers[i], 0);
}

// Runs where libuv's destructor would: when its object is closed, or the process exits.
static void end_of(struct libuv *uv)
{
    ss_uv_shutdown(&uv->pool);
    uv->own.uv_library_shutdown();
    pthread_mutex_lock(&libuvs_lock);
    retire(uv);
    pthread_mutex_unlock(&libuvs_lock);
}

#define END(i)                   \
    static void end_of_##i(void) \
    {                            \
        end_of(&libuvs[i]);      \
    }
END(0)
END(1)
END(2)
END(3)
END(4)
END(5)
END(6)
END(7)
END(8)
END(9)
END(10)
END(11)
END(12)
END(13)
END(14)
END(15)

static void (*const ends[MAX_LIBUVS])(void) = {
    end_of_0, end_of_1, end_of_2,  end_of_3,  end_of_4,  end_of_5,  end_of_6,  end_of_7,
    end_of_8, end_of_9, end_of_10, end_of_11, end_of_12, end_of_13, end_of_14, end_of_15,
};

// Replaces one word of an object. The page may have been made read-only by the loader, and then is
// again.
static bool replace(const struct object *object, uintptr_t *place, uintptr_t value)
{
    uintptr_t page = (uintptr_t)place & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    size_t size = (uintptr_t)(place + 1) - page;
    bool sealed = page - object->sealed < object->sealed_end - object->sealed;

    if (sealed && mprotect((void *)page, size, PROT_READ | PROT_WRITE) != 0)
        return false;
    *place = value;
    if (sealed)
        (void)mprotect((void *)page, size, PROT_READ);
    return true;
}

// Finds uv_library_shutdown() among an object's destructors: libuv's own, or ours, to which the
// loader has bound it. NULL: it is not there.
static uintptr_t *find_destructor(const struct object *object, const void *own)
{
    uintptr_t *array = NULL;
    size_t count = 0;

    for (const ElfW(Dyn) *entry = object->dynamic; entry != NULL && entry->d_tag != DT_NULL;
         entry++) {
        if (entry->d_tag == DT_FINI_ARRAY)
            array = (uintptr_t *)(object->base + entry->d_un.d_ptr);
        else if (entry->d_tag == DT_FINI_ARRAYSZ)
            count = entry->d_un.d_val / sizeof(*array);
    }
    for (size_t i = 0; array != NULL && i < count; i++) {
        if (array[i] == (uintptr_t)own || array[i] == (uintptr_t)uv_library_shutdown)
            return &array[i];
    }
    return NULL;
}

static struct libuv *unused_record(void)
{
    unsigned i = 0;

    while (i < libuvs_used && (libuvs[i].version & 1) != 0)
        i++;
    return i < MAX_LIBUVS ? &libuvs[i] : NULL;
}

// What the loader says of a libuv. Asked before libuvs_lock is taken: a thread that closes a libuv
// holds the loader's lock and waits for ours.
struct candidate {
    struct object object;
    bool fits;
    __typeof__(&uv_version) version;
    __typeof__(&uv_async_send) async_send;
    __typeof__(&uv_library_shutdown) shutdown;
    uintptr_t *destructor;
};

static bool examine(const void *address, struct candidate *candidate)
{
    const struct object *object = &candidate->object;

    if (!find_object(address, &candidate->object))
        return false;
    candidate->version = (__typeof__(&uv_version))definition(object, "uv_version");
    candidate->async_send = (__typeof__(&uv_async_send))definition(object, "uv_async_send");
    candidate->shutdown =
        (__typeof__(&uv_library_shutdown))definition(object, "uv_library_shutdown");
    if (candidate->version == NULL || candidate->async_send == NULL || candidate->shutdown == NULL)
        return false;
    // One that is served by patching does all by itself.
    candidate->fits = !disabled() && !ss_inside_serves(address) && fits(object);
    candidate->destructor = find_destructor(object, (void *)candidate->shutdown);
    return true;
}

// libuvs_lock.
static struct libuv *record_libuv(const struct candidate *candidate)
{
    struct libuv *uv = unused_record();

    if (uv == NULL)
        return NULL;
    memset(&uv->own, 0, sizeof(uv->own));
    uv->own.uv_async_send = candidate->async_send;
    uv->own.uv_library_shutdown = candidate->shutdown;
    uv->map = candidate->object.map;
    uv->ours = candidate->fits;
    uv->once = NULL;
    uv->threads = NULL;
    uv->count = uv->started = 0;
    pthread_mutex_init(&uv->native_lock, NULL);
    ss_uv_pool_init(&uv->pool, candidate->version, candidate->async_send);
    // Its destructor becomes ours, which knows whose it is: when a libuv is closed, its jobs must
    // have ended, and its addresses are forgotten.
    uv->hooked = candidate->destructor != NULL &&
                 replace(&candidate->object, candidate->destructor, (uintptr_t)ends[uv - libuvs]);
    publish(uv, &candidate->object);
    if (uv == &libuvs[libuvs_used])
        word_store_release(&libuvs_used, libuvs_used + 1);
    return uv;
}

// The libuv whose object has this address; NULL: the object has no libuv in it, or there are too
// many.
static struct libuv *libuv_with(const void *address)
{
    struct libuv *uv = known_libuv(address);
    struct candidate candidate;

    if (__builtin_expect(uv != NULL, 1))
        return uv;
    if (!examine(address, &candidate))
        return NULL;
    pthread_mutex_lock(&libuvs_lock);
    uv = known_libuv(address);
    if (uv == NULL)
        uv = record_libuv(&candidate);
    pthread_mutex_unlock(&libuvs_lock);
    if (uv != NULL && !uv->hooked)
        (void)dlopen(candidate.object.map->l_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    return uv;
}

// The libuv that made a loop: it is where the callback of the loop's own handle lies, until that is
// ours.
static void work_done(uv_async_t *handle);

static struct libuv *libuv_of(uv_loop_t *loop)
{
    if (__builtin_expect(loop == NULL, 0))
        return NULL; // libuv may refuse the call for another reason before it looks into the loop
    uv_async_cb callback = word_load_acquire(&loop->wq_async.async_cb);

    if (__builtin_expect(callback == work_done, 1))
        return (struct libuv *)ss_uv_pool_of(loop);
    const void *origin = ss_inside_origin(callback);
    if (origin == NULL)
        origin = (const void *)callback;
    return origin != NULL ? libuv_with(origin) : NULL;
}

// ---- which object calls which

// Our own object: where the linker says that it begins and ends.
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static bool is_our_own(const void *address)
{
    return (uintptr_t)address - (uintptr_t)__ehdr_start < (size_t)(_end - __ehdr_start);
}

static int note_shared_libuv(struct dl_phdr_info *info, size_t size, void *data)
{
    static const char name[] = "libuv.so.1";
    const char *slash = strrchr(info->dlpi_name, '/');

    (void)size;
    if (strncmp(slash != NULL ? slash + 1 : info->dlpi_name, name, sizeof(name) - 1) != 0)
        return 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            *(uintptr_t *)data = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    }
    return 1;
}

// What the caller's object would have been bound to without us: the next definition in the global
// scope; else that among the object and what it was linked with. Else that of the first libuv.so.1
// that is loaded: a function that ends in a call leaves the address of its caller.
static void *bound(const struct link_map *object, const char *name)
{
    uintptr_t libuv = 0;
    struct object found;
    void *function = dlsym(RTLD_NEXT, name);

    if (function == NULL && object != NULL)
        function = lookup(object, name);
    if (function != NULL && !is_our_own(function))
        return function;
    if (dl_iterate_phdr(note_shared_libuv, &libuv) == 0 || !find_object((void *)libuv, &found))
        return NULL;
    return definition(&found, name);
}

// The loader's record of the object that has an address.
static struct link_map *object_with(void *address)
{
    Dl_info info;
    void *map = NULL;

#ifdef DLFO_EH_SEGMENT_TYPE
    struct dl_find_object found;
    if (_dl_find_object != NULL) // takes no lock
        return _dl_find_object(address, &found) == 0 ? found.dlfo_link_map : NULL;
#endif
    return dladdr1(address, &info, &map, RTLD_DL_LINKMAP) != 0 ? map : NULL;
}

static struct libuv *remembered(const struct link_map *object)
{
    for (unsigned i = 0; i < MAX_CALLERS; i++) {
        uintptr_t word = word_load_acquire(&callers[i]);
        if (word == 0)
            return NULL;
        if ((word & ~(uintptr_t)15) == (uintptr_t)object)
            return &libuvs[word & 15];
    }
    return NULL;
}

static void remember(const struct link_map *object, const struct libuv *uv)
{
    unsigned i = 0;

    if (((uintptr_t)object & 15) != 0)
        return;
    pthread_mutex_lock(&libuvs_lock);
    while (i < MAX_CALLERS - 1 && callers[i] != 0)
        i++;
    if ((uv->version & 1) != 0)
        word_store_release(&callers[i], (uintptr_t)object | (uintptr_t)(uv - libuvs));
    pthread_mutex_unlock(&libuvs_lock);
}

// The libuv that a caller's functions belong to; NULL: none that we know of. A plug-in with a libuv
// of its own calls that, if it has made a loop with it.
static struct libuv *libuv_for(void *caller)
{
    struct libuv *uv = known_libuv(caller);

    if (uv != NULL)
        return uv;
    if (is_our_own(caller))
        return here.served; // by a function of the program's that we have called
    const struct link_map *object = object_with(caller);
    if (object == NULL)
        return NULL;
    uv = remembered(object);
    if (uv != NULL)
        return uv;
    const void *address = bound(object, "uv_version");
    uv = address != NULL ? libuv_with(address) : NULL;
    if (uv != NULL)
        remember(object, uv);
    return uv;
}

static struct libuv *any_libuv(void)
{
    for (unsigned i = 0; i < MAX_LIBUVS; i++) {
        if ((word_load_acquire(&libuvs[i].version) & 1) != 0)
            return &libuvs[i];
    }
    return NULL;
}

static void *find_function(struct libuv *uv, void **place, const char *name, void *caller)
{
    void *function = NULL;

    if (uv != NULL) {
        function = lookup(uv->map, name);
        word_store_relaxed(place, function);
    } else {
        function = bound(object_with(caller), name);
        // What is about no loop is the same in all of them.
        if (function == NULL && (uv = any_libuv()) != NULL)
            function = lookup(uv->map, name);
    }
    return function;
}

// A libuv's own function of that name; without one, what the caller is bound to. NULL: it is newer
// than that libuv.
#define REAL(uv, name)                                                                         \
    __typeof__(&(name)) real = (uv) != NULL ? word_load_relaxed(&(uv)->own.name) : NULL;       \
    if (__builtin_expect(real == NULL, 0))                                                     \
    real = (__typeof__(real))find_function(uv, (uv) != NULL ? (void **)&(uv)->own.name : NULL, \
                                           #name, CALLER)

// libuv's circular lists: words (next, previous), in every version.
typedef void *ss_word __attribute__((may_alias));

static void list_append(ss_word *list, ss_word *node)
{
    ss_word *last = list[1];

    node[0] = list;
    node[1] = last;
    last[0] = node;
    list[1] = node;
}

static void list_unlink(ss_word *node)
{
    ss_word *next = node[0], *previous = node[1];

    next[1] = previous;
    previous[0] = next;
}

// As uv_mutex_lock() and uv_mutex_unlock().
static void lock(uv_mutex_t *mutex)
{
    if (pthread_mutex_lock(mutex) != 0)
        abort();
}

static void unlock(uv_mutex_t *mutex)
{
    if (pthread_mutex_unlock(mutex) != 0)
        abort();
}

// ---------------------------------------------------------------------------------------------
// libuv's own pool, without its threads
// ---------------------------------------------------------------------------------------------

// Outside of requests, the libuv whose threads are created within uv_once(): only one that has an
// object to itself, for a plug-in's own code starts threads in uv_once(), too.
static struct libuv *separate_libuv(uv_thread_cb entry)
{
    struct libuv *uv = libuv_with((void *)entry);
    const char *slash = uv != NULL ? strrchr(uv->map->l_name, '/') : NULL;

    return slash != NULL && strncmp(slash + 1, "libuv", 5) == 0 ? uv : NULL;
}

// Is this the creation of a pool thread? Then it is noted and not made: its check-in, which libuv
// waits for, is done here.
static bool is_pool_thread(uv_thread_t *tid, uv_thread_cb entry, void *check_in)
{
    if (here.once == NULL || here.mutex == NULL)
        return false;
    struct libuv *uv = here.request != NULL ? here.request : separate_libuv(entry);
    if (uv == NULL || !uv->ours || known_libuv((void *)entry) != uv)
        return false;
    if (here.threads++ == 0) {
        // Also in a child process, where libuv starts its pool anew and no thread is left.
        pthread_mutex_init(&uv->native_lock, NULL);
        uv->mutex = here.mutex;
        uv->worker = entry;
        uv->threads = tid;
        uv->count = 0;
        uv->started = 0;
        word_store_release(&uv->once, here.once);
    }
    uv->count++;

    REAL(uv, uv_sem_post);
    real(check_in);
    return true;
}

static void native_worker(void *arg)
{
    struct libuv *uv = arg;

    here.native_worker = true;
    uv->worker(&uv->check_in);
}

static void prepare_check_in(struct libuv *uv)
{
    REAL(uv, uv_sem_init);

    (void)real(&uv->check_in, 0);
}

static void start_native_threads(struct libuv *uv)
{
    REAL(uv, uv_thread_create);

    pthread_mutex_lock(&uv->native_lock);
    if (uv->started == 0)
        prepare_check_in(uv);
    while (uv->started < uv->count && real(uv->threads + uv->started, native_worker, uv) == 0)
        uv->started++;
    pthread_mutex_unlock(&uv->native_lock);
}

// The libuv whose pool is initialised under this guard.
static struct libuv *guarded_by(const uv_once_t *guard)
{
    struct libuv *uv = here.request;

    if (uv != NULL && word_load_acquire(&uv->once) == guard)
        return uv;
    unsigned used = word_load_acquire(&libuvs_used);
    for (unsigned i = 0; i < used; i++) {
        uv = &libuvs[i];
        if (word_load_acquire(&uv->once) == guard && (word_load_relaxed(&uv->version) & 1) != 0)
            return uv;
    }
    return NULL;
}

SMOLSCALE_API void uv_once(uv_once_t *guard, void (*callback)(void))
{
    struct libuv *uv = here.request != NULL ? here.request : libuv_for(CALLER);
    REAL(uv, uv_once);
    struct libuv *outer_served = here.served;
    uv_once_t *outer_once = here.once;
    uv_mutex_t *outer_mutex = here.mutex;
    unsigned outer_threads = here.threads;

    here.served = uv;
    here.once = guard;
    here.mutex = NULL;
    here.threads = 0;
    if (real != NULL)
        real(guard, callback);
    else
        (void)pthread_once(guard, callback);
    here.served = outer_served;
    here.once = outer_once;
    here.mutex = outer_mutex;
    here.threads = outer_threads;

    struct libuv *started = guarded_by(guard);
    if (started != NULL) {
        if (here.request == started)
            here.submitted = true;
        else if (!here.forwarding)
            start_native_threads(started);
    }
}

SMOLSCALE_API int uv_mutex_init(uv_mutex_t *mutex)
{
    struct libuv *uv = libuv_for(CALLER);
    REAL(uv, uv_mutex_init);

    // A call out of libuv itself: so come those of uv_async_send(), of its own pool's results.
    if (uv != NULL && uv->ours && known_libuv(CALLER) == uv)
        word_store_relaxed(&uv->pool.knows_all_sends, true);
    if (here.once != NULL && here.mutex == NULL)
        here.mutex = mutex;
    return real != NULL ? real(mutex) : UV_ENOSYS;
}

SMOLSCALE_API int uv_thread_create(uv_thread_t *tid, uv_thread_cb entry, void *arg)
{
    struct libuv *uv = libuv_for(CALLER);
    REAL(uv, uv_thread_create);

    if (is_pool_thread(tid, entry, arg))
        return 0;
    return real != NULL ? real(tid, entry, arg) : UV_ENOSYS;
}

SMOLSCALE_API int uv_thread_create_ex(uv_thread_t *tid, const uv_thread_options_t *params,
                                      uv_thread_cb entry, void *arg)
{
    struct libuv *uv = libuv_for(CALLER);
    REAL(uv, uv_thread_create_ex);

    if (is_pool_thread(tid, entry, arg))
        return 0;
    return real != NULL ? real(tid, params, entry, arg) : UV_ENOSYS;
}

SMOLSCALE_API int uv_thread_join(uv_thread_t *tid)
{
    struct libuv *uv = libuv_for(CALLER);
    REAL(uv, uv_thread_join);

    for (unsigned i = 0; i < MAX_LIBUVS; i++) {
        const struct libuv *of = &libuvs[i];
        if (of->threads != NULL && tid >= of->threads + of->started &&
            tid < of->threads + of->count)
            return 0; // a pool thread that never was
    }
    return real != NULL ? real(tid) : UV_ENOSYS;
}

// ---------------------------------------------------------------------------------------------
// Completion
// ---------------------------------------------------------------------------------------------

static void work_done(uv_async_t *handle)
{
    uv_loop_t *loop = handle->loop;
    struct libuv *uv = libuv_of(loop);
    struct uv__work *w = ss_uv_take(loop);

    lock(&loop->wq_mutex);
    while (w != NULL) {
        struct uv__work *next = ss_uv_next(w);
        list_append((ss_word *)&loop->wq, (ss_word *)&w->wq);
        w = next;
    }
    unlock(&loop->wq_mutex);
    uv->work_done(handle);
    ss_uv_leave(loop);
}

// Puts our callback in the place of libuv's. Before the loop's first submission, or, by a pool
// thread of libuv, before it wakes the loop; two threads may do it at once, to the same end.
static void attach(struct libuv *uv, uv_loop_t *loop)
{
    uv_async_cb callback = word_load_relaxed(&loop->wq_async.async_cb);

    if (__builtin_expect(callback != work_done, 0)) {
        ss_uv_adopt(&uv->pool, loop);
        word_store_relaxed(&uv->work_done, callback);
        word_store_release(&loop->wq_async.async_cb, work_done);
    }
}

SMOLSCALE_API int uv_async_send(uv_async_t *handle)
{
    // libuv wakes the loop for what it has put into loop->wq: a pool thread of its own, or
    // uv_cancel().
    if (here.native_worker && handle == &handle->loop->wq_async) {
        struct libuv *of_loop = libuv_of(handle->loop);
        if (of_loop != NULL && of_loop->ours)
            attach(of_loop, handle->loop);
    }
    if (word_load_relaxed(&handle->async_cb) == work_done) {
        ss_uv_notify(handle->loop);
        return 0;
    }
    // As in every version: the loop of a handle that is marked is not touched. It may be gone.
    if ((word_load_relaxed(&handle->pending) & 1) != 0)
        return 0;
    struct libuv *uv = libuv_of(handle->loop);
    if (uv == NULL)
        uv = libuv_for(CALLER);
    REAL(uv, uv_async_send);
    return real != NULL ? real(handle) : UV_ENOSYS;
}

// For each type of request libuv's own end of a request, and ours, which it is called from: to tell
// of cancelling, and as the mark of a request that is ours.
#define DONE(request)                                              \
    static void done_##request(struct uv__work *w, int status)     \
    {                                                              \
        struct libuv *uv = (struct libuv *)ss_uv_pool_of(w->loop); \
        (void)status;                                              \
        uv->done_##request(w, ss_uv_conclude(w));                  \
    }

DONE(uv_fs_t)
DONE(uv_getaddrinfo_t)
DONE(uv_getnameinfo_t)
DONE(uv_random_t)

static bool is_ours(const struct uv__work *w)
{
    return ss_uv_is_user_work(w) || w->done == done_uv_fs_t || w->done == done_uv_getaddrinfo_t ||
           w->done == done_uv_getnameinfo_t || w->done == done_uv_random_t;
}

// ---------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------

// Takes a request out of libuv's queue. False: one of libuv's threads has been faster.
static bool seize(struct libuv *uv, struct uv__work *w)
{
    uv_loop_t *loop = w->loop;
    ss_word *node = (ss_word *)&w->wq;
    bool mine;

    // Both locks, for libuv's threads link finished work into loop->wq: as libuv does to cancel.
    lock(uv->mutex);
    lock(&loop->wq_mutex);
    mine = w->work != NULL && node[0] != node;
    if (mine)
        list_unlink(node);
    unlock(&loop->wq_mutex);
    unlock(uv->mutex);
    return mine;
}

static struct libuv *begin_request(struct libuv *uv)
{
    struct libuv *outer = here.request;

    here.request = uv;
    here.submitted = false;
    return outer;
}

static bool end_request(struct libuv *outer)
{
    bool submitted = here.submitted;

    here.request = outer;
    here.submitted = false;
    return submitted;
}

#define POOL_FUNCTION(kind, request, name, parameters, arguments)        \
    SMOLSCALE_API int name parameters                                    \
    {                                                                    \
        struct libuv *uv = cb != NULL ? libuv_of(loop) : NULL;           \
        bool ours = uv != NULL && uv->ours;                              \
        if (uv == NULL)                                                  \
            uv = libuv_for(CALLER);                                      \
        REAL(uv, name);                                                  \
        if (real == NULL)                                                \
            return UV_ENOSYS; /* newer than the libuv that is there */   \
        if (!ours)                                                       \
            return real arguments;                                       \
        struct libuv *outer = begin_request(uv);                         \
        int result = real arguments;                                     \
        if (end_request(outer) && seize(uv, &req->work_req)) {           \
            word_store_relaxed(&uv->done_##request, req->work_req.done); \
            req->work_req.done = done_##request;                         \
            attach(uv, loop);                                            \
            ss_uv_submit(&req->work_req, kind);                          \
        }                                                                \
        return result;                                                   \
    }

#include "preload_functions.h"

SMOLSCALE_API int uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
                                uv_after_work_cb after_work_cb)
{
    struct libuv *uv = libuv_of(loop);

    if (uv == NULL || !uv->ours) {
        uv = uv != NULL ? uv : libuv_for(CALLER);
        REAL(uv, uv_queue_work);
        return real != NULL ? real(loop, req, work_cb, after_work_cb) : UV_ENOSYS;
    }
    int err = ss_uv_prepare_work(loop, req, work_cb, after_work_cb);
    if (err == 0) {
        attach(uv, loop);
        ss_uv_submit(&req->work_req, SS_UV_CPU);
    }
    return err;
}

SMOLSCALE_API int uv_cancel(uv_req_t *req)
{
    struct uv__work *w;
    uv_loop_t *loop;
    enum ss_uv_kind kind;

    if (!ss_uv_work_of(req, &w, &loop, &kind))
        return UV_EINVAL; // as every libuv says
    if (is_ours(w))
        return ss_uv_cancel(w, kind);
    struct libuv *uv = loop != NULL ? libuv_of(loop) : NULL;
    if (uv == NULL)
        uv = libuv_for(CALLER);
    REAL(uv, uv_cancel);
    if (real == NULL)
        return UV_ENOSYS;
    here.forwarding = true;
    int err = real(req);
    here.forwarding = false;
    return err;
}

// ---------------------------------------------------------------------------------------------
// The end
// ---------------------------------------------------------------------------------------------

static bool exiting; // our destructor has run, and so libuvs' do

// The objects whose destructor is bound to ours, and was not put right.
struct unhooked {
    unsigned count;
    void *addresses[MAX_LIBUVS];
};

static int note_unhooked(struct dl_phdr_info *info, size_t size, void *data)
{
    struct unhooked *unhooked = data;

    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        struct object object = {.base = info->dlpi_addr};
        if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
            continue;
        object.dynamic = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        if (find_destructor(&object, NULL) != NULL && unhooked->count < MAX_LIBUVS)
            unhooked->addresses[unhooked->count++] = (void *)object.dynamic;
    }
    (void)size;
    return 0;
}

// The loader calls the destructor of a libuv that was not used, or could not be hooked. Which one
// is known if there is but one; when the process exits all come in turn, and a second call does
// nothing. Else nothing is done: what it did not use it has not to clear up.
static void shut_down_unhooked(void)
{
    struct unhooked unhooked = {0};
    struct object object;

    dl_iterate_phdr(note_unhooked, &unhooked);
    for (unsigned i = 0; i < unhooked.count && (unhooked.count == 1 || exiting); i++) {
        void (*own)(void) = NULL;
        if (find_object(unhooked.addresses[i], &object))
            own = (void (*)(void))definition(&object, "uv_library_shutdown");
        if (own != NULL)
            own();
    }
}

static bool is_loader(const struct link_map *object)
{
    return object != NULL && object->l_addr == getauxval(AT_BASE);
}

SMOLSCALE_API void uv_library_shutdown(void)
{
    if (known_libuv(CALLER) == NULL && is_loader(object_with(CALLER))) {
        shut_down_unhooked();
        return;
    }
    struct libuv *uv = libuv_for(CALLER);
    if (uv != NULL)
        ss_uv_shutdown(&uv->pool);
    REAL(uv, uv_library_shutdown);
    if (real != NULL)
        real();
}

// At exit a libuv shuts down from its destructor. Where that is not ours, this is: it comes before,
// waits as libuv would and leaves everything in place.
__attribute__((destructor)) static void shutdown_at_exit(void)
{
    exiting = true;
    for (unsigned i = 0; i < libuvs_used; i++) {
        if ((libuvs[i].version & 1) != 0 && !libuvs[i].hooked)
            ss_uv_shutdown(&libuvs[i].pool);
    }
}
