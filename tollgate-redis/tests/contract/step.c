// Preloaded into a redis-server of a test: adds to its clock the seconds that a file holds, as eight bytes.
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static volatile int64_t *ahead;

__attribute__((constructor)) static void map(void) {
    int file = open(getenv("STEP_FILE"), O_RDONLY);
    void *page = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) abort();
    ahead = page;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    int failed = syscall(SYS_gettimeofday, time, zone);
    if (!failed && ahead) time->tv_sec += *ahead;
    return failed;
}
