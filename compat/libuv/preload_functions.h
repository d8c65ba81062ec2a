// SPDX-License-Identifier: ISC
//
// The public functions of libuv (1.44 to 1.52) that use its thread pool when they are given a
// callback, besides uv_queue_work(). One line each: kind of work, type of request, name,
// parameters, arguments. In all of them the loop is `loop`, the request is `req` and the callback
// is `cb`.
//
//   POOL_FUNCTION(kind, request, name, (parameters), (arguments))

#define FS(name, parameters, arguments) \
    POOL_FUNCTION(SS_UV_FAST_IO, uv_fs_t, name, parameters, arguments)

FS(uv_fs_access, (uv_loop_t * loop, uv_fs_t *req, const char *path, int mode, uv_fs_cb cb),
   (loop, req, path, mode, cb))
FS(uv_fs_chmod, (uv_loop_t * loop, uv_fs_t *req, const char *path, int mode, uv_fs_cb cb),
   (loop, req, path, mode, cb))
FS(uv_fs_chown,
   (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_uid_t uid, uv_gid_t gid, uv_fs_cb cb),
   (loop, req, path, uid, gid, cb))
FS(uv_fs_close, (uv_loop_t * loop, uv_fs_t *req, uv_file file, uv_fs_cb cb), (loop, req, file, cb))
FS(uv_fs_closedir, (uv_loop_t * loop, uv_fs_t *req, uv_dir_t *dir, uv_fs_cb cb),
   (loop, req, dir, cb))
FS(uv_fs_copyfile,
   (uv_loop_t * loop, uv_fs_t *req, const char *path, const char *new_path, int flags, uv_fs_cb cb),
   (loop, req, path, new_path, flags, cb))
FS(uv_fs_fchmod, (uv_loop_t * loop, uv_fs_t *req, uv_file file, int mode, uv_fs_cb cb),
   (loop, req, file, mode, cb))
FS(uv_fs_fchown,
   (uv_loop_t * loop, uv_fs_t *req, uv_file file, uv_uid_t uid, uv_gid_t gid, uv_fs_cb cb),
   (loop, req, file, uid, gid, cb))
FS(uv_fs_fdatasync, (uv_loop_t * loop, uv_fs_t *req, uv_file file, uv_fs_cb cb),
   (loop, req, file, cb))
FS(uv_fs_fstat, (uv_loop_t * loop, uv_fs_t *req, uv_file file, uv_fs_cb cb), (loop, req, file, cb))
FS(uv_fs_fsync, (uv_loop_t * loop, uv_fs_t *req, uv_file file, uv_fs_cb cb), (loop, req, file, cb))
FS(uv_fs_ftruncate, (uv_loop_t * loop, uv_fs_t *req, uv_file file, int64_t offset, uv_fs_cb cb),
   (loop, req, file, offset, cb))
FS(uv_fs_futime,
   (uv_loop_t * loop, uv_fs_t *req, uv_file file, double atime, double mtime, uv_fs_cb cb),
   (loop, req, file, atime, mtime, cb))
FS(uv_fs_lchown,
   (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_uid_t uid, uv_gid_t gid, uv_fs_cb cb),
   (loop, req, path, uid, gid, cb))
FS(uv_fs_link,
   (uv_loop_t * loop, uv_fs_t *req, const char *path, const char *new_path, uv_fs_cb cb),
   (loop, req, path, new_path, cb))
FS(uv_fs_lstat, (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_fs_cb cb),
   (loop, req, path, cb))
FS(uv_fs_lutime,
   (uv_loop_t * loop, uv_fs_t *req, const char *path, double atime, double mtime, uv_fs_cb cb),
   (loop, req, path, atime, mtime, cb))
FS(uv_fs_mkdir, (uv_loop_t * loop, uv_fs_t *req, const char *path, int mode, uv_fs_cb cb),
   (loop, req, path, mode, cb))
FS(uv_fs_mkdtemp, (uv_loop_t * loop, uv_fs_t *req, const char *template, uv_fs_cb cb),
   (loop, req, template, cb))
FS(uv_fs_mkstemp, (uv_loop_t * loop, uv_fs_t *req, const char *template, uv_fs_cb cb),
   (loop, req, template, cb))
FS(uv_fs_open, (uv_loop_t * loop, uv_fs_t *req, const char *path, int flags, int mode, uv_fs_cb cb),
   (loop, req, path, flags, mode, cb))
FS(uv_fs_opendir, (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_fs_cb cb),
   (loop, req, path, cb))
FS(uv_fs_read,
   (uv_loop_t * loop, uv_fs_t *req, uv_file file, const uv_buf_t bufs[], unsigned int nbufs,
    int64_t offset, uv_fs_cb cb),
   (loop, req, file, bufs, nbufs, offset, cb))
FS(uv_fs_readdir, (uv_loop_t * loop, uv_fs_t *req, uv_dir_t *dir, uv_fs_cb cb),
   (loop, req, dir, cb))
FS(uv_fs_readlink, (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_fs_cb cb),
   (loop, req, path, cb))
FS(uv_fs_realpath, (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_fs_cb cb),
   (loop, req, path, cb))
FS(uv_fs_rename,
   (uv_loop_t * loop, uv_fs_t *req, const char *path, const char *new_path, uv_fs_cb cb),
   (loop, req, path, new_path, cb))
FS(uv_fs_rmdir, (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_fs_cb cb),
   (loop, req, path, cb))
FS(uv_fs_scandir, (uv_loop_t * loop, uv_fs_t *req, const char *path, int flags, uv_fs_cb cb),
   (loop, req, path, flags, cb))
FS(uv_fs_sendfile,
   (uv_loop_t * loop, uv_fs_t *req, uv_file out, uv_file in, int64_t offset, size_t length,
    uv_fs_cb cb),
   (loop, req, out, in, offset, length, cb))
FS(uv_fs_stat, (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_fs_cb cb),
   (loop, req, path, cb))
FS(uv_fs_statfs, (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_fs_cb cb),
   (loop, req, path, cb))
FS(uv_fs_symlink,
   (uv_loop_t * loop, uv_fs_t *req, const char *path, const char *new_path, int flags, uv_fs_cb cb),
   (loop, req, path, new_path, flags, cb))
FS(uv_fs_unlink, (uv_loop_t * loop, uv_fs_t *req, const char *path, uv_fs_cb cb),
   (loop, req, path, cb))
FS(uv_fs_utime,
   (uv_loop_t * loop, uv_fs_t *req, const char *path, double atime, double mtime, uv_fs_cb cb),
   (loop, req, path, atime, mtime, cb))
FS(uv_fs_write,
   (uv_loop_t * loop, uv_fs_t *req, uv_file file, const uv_buf_t bufs[], unsigned int nbufs,
    int64_t offset, uv_fs_cb cb),
   (loop, req, file, bufs, nbufs, offset, cb))

POOL_FUNCTION(SS_UV_SLOW_IO, uv_getaddrinfo_t, uv_getaddrinfo,
              (uv_loop_t * loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb, const char *node,
               const char *service, const struct addrinfo *hints),
              (loop, req, cb, node, service, hints))
POOL_FUNCTION(SS_UV_SLOW_IO, uv_getnameinfo_t, uv_getnameinfo,
              (uv_loop_t * loop, uv_getnameinfo_t *req, uv_getnameinfo_cb cb,
               const struct sockaddr *addr, int flags),
              (loop, req, cb, addr, flags))
POOL_FUNCTION(SS_UV_CPU, uv_random_t, uv_random,
              (uv_loop_t * loop, uv_random_t *req, void *buf, size_t buflen, unsigned flags,
               uv_random_cb cb),
              (loop, req, buf, buflen, flags, cb))

#undef FS
