/* Preloaded into the service: makes reads, writes and syncs of chosen files fail, or ends the process in their midst,
 * while a mapped control block says so. Everything else goes to the C library untouched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { READS = 1, WRITES = 2, SYNCS = 4 };
enum { FAIL = 0, FAIL_TORN = 1, KILL = 2 };

/* The same layout as in disk_faults.py. */
struct control {
    uint32_t operations; /* which of them; 0: none */
    uint32_t action;
    int32_t error;
    int32_t skip; /* so many of them go well first */
    uint32_t hits;
    char name[64]; /* what the file's path ends with */
};

static struct control *control;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_FAULTS");
    if (path == NULL) return;
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return;
    void *block = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (block != MAP_FAILED) control = block;
}

static int is_meant(int descriptor, uint32_t operation) {
    if (control == NULL || !(control->operations & operation)) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path);
    size_t wanted = strnlen(control->name, sizeof control->name);
    if (length < 0 || (size_t)length < wanted) return 0;
    if (memcmp(path + length - wanted, control->name, wanted) != 0) return 0;
    if (__atomic_fetch_sub(&control->skip, 1, __ATOMIC_SEQ_CST) > 0) return 0;
    __atomic_fetch_add(&control->hits, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static ssize_t failed(void) {
    errno = control->error;
    return -1;
}

#define REAL(name, type) static type real_##name; if (real_##name == NULL) real_##name = (type)dlsym(RTLD_NEXT, #name)

typedef ssize_t (*pwrite_type)(int, const void *, size_t, off_t);
typedef ssize_t (*pread_type)(int, void *, size_t, off_t);
typedef int (*sync_type)(int);
typedef int (*truncate_type)(int, off_t);

static ssize_t write_or_fail(pwrite_type real, int descriptor, const void *data, size_t size, off_t offset) {
    if (!is_meant(descriptor, WRITES)) return real(descriptor, data, size, offset);
    /* A part may have reached the file when the rest could not. */
    if (control->action != FAIL) real(descriptor, data, size / 2, offset);
    if (control->action == KILL) kill(getpid(), SIGKILL);
    return failed();
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    REAL(pwrite, pwrite_type);
    return write_or_fail(real_pwrite, descriptor, data, size, offset);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off_t offset) {
    REAL(pwrite64, pwrite_type);
    return write_or_fail(real_pwrite64, descriptor, data, size, offset);
}

ssize_t pread(int descriptor, void *data, size_t size, off_t offset) {
    REAL(pread, pread_type);
    return is_meant(descriptor, READS) ? failed() : real_pread(descriptor, data, size, offset);
}

ssize_t pread64(int descriptor, void *data, size_t size, off_t offset) {
    REAL(pread64, pread_type);
    return is_meant(descriptor, READS) ? failed() : real_pread64(descriptor, data, size, offset);
}

static int sync_or_fail(sync_type real, int descriptor) {
    if (!is_meant(descriptor, SYNCS)) return real(descriptor);
    if (control->action == KILL) kill(getpid(), SIGKILL);
    return (int)failed();
}

int fsync(int descriptor) {
    REAL(fsync, sync_type);
    return sync_or_fail(real_fsync, descriptor);
}

int fdatasync(int descriptor) {
    REAL(fdatasync, sync_type);
    return sync_or_fail(real_fdatasync, descriptor);
}

int ftruncate(int descriptor, off_t size) {
    REAL(ftruncate, truncate_type);
    return is_meant(descriptor, WRITES) ? (int)failed() : real_ftruncate(descriptor, size);
}

int ftruncate64(int descriptor, off_t size) {
    REAL(ftruncate64, truncate_type);
    return is_meant(descriptor, WRITES) ? (int)failed() : real_ftruncate64(descriptor, size);
}
