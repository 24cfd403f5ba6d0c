/* The EGL types that cudaEGL.h names, so that no EGL headers need be installed. */
#ifndef SHIMBENCH_EGL_H
#define SHIMBENCH_EGL_H
typedef int EGLint;
typedef unsigned int EGLBoolean;
#endif
