/* All that NVIDIA's headers take from the C library's, in a form pycparser reads. */
#ifndef SHIMBENCH_FREESTANDING_STDLIB_H
#define SHIMBENCH_FREESTANDING_STDLIB_H
typedef __SIZE_TYPE__ size_t;
#endif
