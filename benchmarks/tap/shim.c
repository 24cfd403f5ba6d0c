/* The least a driver can do, and, with LOGGING, the wrapper one would write by hand around it. */
#include <stdint.h>
#include <stdio.h>

#ifdef LOGGING
static FILE *out;
__attribute__((constructor)) static void open_log(void) {
    out = fopen("/dev/null", "w");
}
#endif

int cuCtxSetLimit(int limit, uint64_t value) {
    int result = limit < 0;
#ifdef LOGGING
    fprintf(out, "cuCtxSetLimit(limit=%d, value=%lu) -> %d\n", limit, (unsigned long)value, result);
#else
    (void)value;
#endif
    return result;
}
