// Preloaded into a process: kills it (SIGKILL) at the n-th call that changes files under one folder. A write is cut in
// half first. kill_arm(n, folder) starts counting; kill_log(buffer) names the calls, one letter each.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long count = 0;
static long limit = 0;
static char under[PATH_MAX];
static char letters[1 << 16];

void kill_arm(long at, const char* folder) {
  strncpy(under, folder, sizeof under - 1);
  count = 0;
  limit = at;
}
long kill_log(char* out, long size) {
  long found = count < size ? count : size;
  memcpy(out, letters, (size_t)found);
  return found;
}

static int tick(char letter) {
  long now = atomic_fetch_add(&count, 1) + 1;
  if (now <= (long)sizeof letters) letters[now - 1] = letter;
  return limit > 0 && now == limit;
}
static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}
static int inside(int folder, const char* path) {
  char link[64], place[PATH_MAX];
  if (under[0] == 0) return 0;
  if (path != NULL && path[0] == '/') return strncmp(path, under, strlen(under)) == 0;
  if (folder == AT_FDCWD) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t size = readlink(link, place, sizeof place - 1);
  return size > 0 && (size_t)size >= strlen(under) && strncmp(place, under, strlen(under)) == 0;
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define STEP(letter, where) do { if ((where) && tick(letter)) die(); } while (0)

#define OPEN(name)                                                      \
  int name(const char* path, int flags, ...) {                          \
    va_list rest; va_start(rest, flags);                                \
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;         \
    va_end(rest);                                                       \
    STEP('o', (flags & O_CREAT) && inside(AT_FDCWD, path));             \
    return REAL(name)(path, flags, mode);                               \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                    \
  int name(int folder, const char* path, int flags, ...) {              \
    va_list rest; va_start(rest, flags);                                \
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;         \
    va_end(rest);                                                       \
    STEP('o', (flags & O_CREAT) && inside(folder, path));               \
    return REAL(name)(folder, path, flags, mode);                       \
  }
OPENAT(openat)
OPENAT(openat64)
ssize_t write(int file, const void* data, size_t size) {
  if (inside(file, NULL) && tick('w')) { REAL(write)(file, data, size / 2); die(); }
  return REAL(write)(file, data, size);
}
#define PWRITE(name, type)                                                  \
  ssize_t name(int file, const void* data, size_t size, type at) {          \
    if (inside(file, NULL) && tick('w')) { REAL(name)(file, data, size / 2, at); die(); } \
    return REAL(name)(file, data, size, at);                                \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
ssize_t copy_file_range(int in, off64_t* from, int out, off64_t* to, size_t size, unsigned flags) {
  if (inside(out, NULL) && tick('w')) { REAL(copy_file_range)(in, from, out, to, size / 2, flags); die(); }
  return REAL(copy_file_range)(in, from, out, to, size, flags);
}
int ftruncate(int file, off_t size) { STEP('t', inside(file, NULL)); return REAL(ftruncate)(file, size); }
int ftruncate64(int file, off64_t size) { STEP('t', inside(file, NULL)); return REAL(ftruncate64)(file, size); }
int fsync(int file) { STEP('s', inside(file, NULL)); return REAL(fsync)(file); }
int rename(const char* from, const char* to) { STEP('r', inside(AT_FDCWD, to)); return REAL(rename)(from, to); }
int renameat(int a, const char* from, int b, const char* to) {
  STEP('r', inside(b, to));
  return REAL(renameat)(a, from, b, to);
}
int unlink(const char* path) { STEP('u', inside(AT_FDCWD, path)); return REAL(unlink)(path); }
int unlinkat(int folder, const char* path, int flags) {
  STEP('u', inside(folder, path));
  return REAL(unlinkat)(folder, path, flags);
}
int rmdir(const char* path) { STEP('d', inside(AT_FDCWD, path)); return REAL(rmdir)(path); }
int mkdir(const char* path, mode_t mode) { STEP('m', inside(AT_FDCWD, path)); return REAL(mkdir)(path, mode); }
