// Remembers what of a folder is on the disk: preloaded into a program, it stands before fsync and fdatasync.
//
// POSIX promises no more than this: the content that a file had when it was synced, and the names that a folder had when it was
// synced. Each is kept in POWER_KEPT: `f-KEY` is a file's content, `d-KEY` has a line `TYPE KEY NAME` for each entry of a folder.
// KEY is made of inode and time of birth, because inodes are used again. What matches POWER_IGNORED (a pattern of fnmatch over the path
// below POWER_ROOT) is not remembered: so a test shows that it would notice if the program did not sync it.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int key_at(int folder, const char *name, int flags, char *key, size_t size, unsigned *mode) {
  struct statx found;
  if (statx(folder, name, flags, STATX_INO | STATX_BTIME | STATX_TYPE, &found) != 0) return -1;
  *mode = found.stx_mode;
  snprintf(key, size, "%llu-%lld.%u", (unsigned long long)found.stx_ino, (long long)found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
  return 0;
}

static void keep_file(int fd, const char *path, FILE *to) {
  char block[1 << 16];
  ssize_t count;
  // Opened anew only where it has to be: closing that would let go of SQLite's locks.
  int is_readable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
  int reading = is_readable ? fd : open(path, O_RDONLY | O_CLOEXEC);
  for (off_t at = 0; (count = pread(reading, block, sizeof block, at)) > 0; at += count) fwrite(block, 1, (size_t)count, to);
  if (!is_readable) close(reading);
}

static void keep_folder(const char *path, FILE *to) {
  DIR *folder = opendir(path);
  struct dirent *entry;
  while (folder && (entry = readdir(folder))) {
    char key[64];
    unsigned mode;
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (key_at(dirfd(folder), entry->d_name, AT_SYMLINK_NOFOLLOW, key, sizeof key, &mode) != 0) continue;
    fprintf(to, "%c %s %s\n", S_ISDIR(mode) ? 'd' : 'f', key, entry->d_name);
  }
  if (folder) closedir(folder);
}

// The path below the watched folder, or NULL where it is not to be remembered.
static const char *watched(int fd, char *path, size_t size) {
  const char *root = getenv("POWER_ROOT"), *ignored = getenv("POWER_IGNORED");
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, size - 1);
  if (!root || length < 0) return NULL;
  path[length] = 0;
  size_t above = strlen(root);
  if (strncmp(path, root, above) != 0 || (path[above] != 0 && path[above] != '/')) return NULL;
  const char *below = path[above] == 0 ? "" : path + above + 1;
  return ignored && fnmatch(ignored, below, 0) == 0 ? NULL : below;
}

static int synced(int fd, const char *which) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, which);
  char path[4096], key[64], kept[4400], making[4400];
  unsigned mode;
  const char *folder = getenv("POWER_KEPT");
  if (!folder || !watched(fd, path, sizeof path)) return real(fd);
  pthread_mutex_lock(&one_at_a_time);
  int result = -1;
  // What counts is what was there when it was called.
  if (key_at(fd, "", AT_EMPTY_PATH, key, sizeof key, &mode) == 0) {
    int is_folder = S_ISDIR(mode);
    snprintf(kept, sizeof kept, "%s/%c-%s", folder, is_folder ? 'd' : 'f', key);
    snprintf(making, sizeof making, "%s/making-%d", folder, getpid());
    FILE *to = fopen(making, "w");
    if (to && is_folder) keep_folder(path, to);
    if (to && !is_folder) keep_file(fd, path, to);
    if (to) fclose(to);
  }
  result = real(fd);
  int error = errno;
  if (result == 0) rename(making, kept);
  pthread_mutex_unlock(&one_at_a_time);
  errno = error;
  return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
