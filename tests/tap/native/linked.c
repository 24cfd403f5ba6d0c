/* A program that binds driver functions by linking. */
extern int cuInit(unsigned);
extern int cuDeviceGetCount(int *);
#include <stdio.h>

int main(void) {
    int count = 0;
    int error = cuInit(0);
    if (error == 0)
        error = cuDeviceGetCount(&count);
    printf("linked %d %d\n", error, count);
    return 0;
}
