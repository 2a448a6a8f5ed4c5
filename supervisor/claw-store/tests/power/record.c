/* Preloaded into a process that works with a store: records in one file, in their order, every
 * write, truncation and sync of the database, its log and the list of acknowledgements.
 *
 * A record is: operation, file, 64 bits of offset or length, 32 bits of size, the bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_truncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void) {
  real_write = dlsym(RTLD_NEXT, "write");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_truncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  const char *path = getenv("CLAW_RECORD");
  if (path != NULL) record = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The letter of a file that is recorded, or 0. */
static char file_of(int fd) {
  char link[64], path[4096];
  if (record < 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  const char *name = strrchr(path, '/');
  if (name == NULL) return 0;
  if (strcmp(name, "/store.db") == 0) return 'd';
  if (strcmp(name, "/store.db-wal") == 0) return 'w';
  if (strcmp(name, "/acknowledged") == 0) return 'a';
  return 0;
}

static void put(char operation, char file, uint64_t offset, const void *bytes, uint32_t size) {
  char head[14] = {operation, file};
  memcpy(head + 2, &offset, 8);
  memcpy(head + 10, &size, 4);
  if (real_write(record, head, sizeof head) != (ssize_t)sizeof head) abort();
  if (size > 0 && real_write(record, bytes, size) != (ssize_t)size) abort();
}

ssize_t write(int fd, const void *bytes, size_t size) {
  char file = file_of(fd);
  if (file == 0) return real_write(fd, bytes, size);
  pthread_mutex_lock(&order);
  ssize_t done = real_write(fd, bytes, size);
  if (done > 0) put('w', file, UINT64_MAX, bytes, (uint32_t)done);
  pthread_mutex_unlock(&order);
  return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
  char file = file_of(fd);
  if (file == 0) return real_pwrite(fd, bytes, size, offset);
  pthread_mutex_lock(&order);
  ssize_t done = real_pwrite(fd, bytes, size, offset);
  if (done > 0) put('w', file, (uint64_t)offset, bytes, (uint32_t)done);
  pthread_mutex_unlock(&order);
  return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
  return pwrite64(fd, bytes, size, offset);
}

int ftruncate64(int fd, off64_t length) {
  char file = file_of(fd);
  if (file == 0) return real_truncate(fd, length);
  pthread_mutex_lock(&order);
  int failed = real_truncate(fd, length);
  if (!failed) put('t', file, (uint64_t)length, NULL, 0);
  pthread_mutex_unlock(&order);
  return failed;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int synced(int fd, int (*sync)(int)) {
  char file = file_of(fd);
  if (file == 0) return sync(fd);
  pthread_mutex_lock(&order);
  int failed = sync(fd);
  if (!failed) put('s', file, 0, NULL, 0);
  pthread_mutex_unlock(&order);
  return failed;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }
