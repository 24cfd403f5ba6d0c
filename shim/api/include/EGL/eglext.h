/* The EGL extension types that cudaEGL.h names, so that no EGL headers need be installed. */
#ifndef SHIMBENCH_EGLEXT_H
#define SHIMBENCH_EGLEXT_H
typedef void *EGLStreamKHR;
typedef void *EGLImageKHR;
typedef void *EGLSyncKHR;
#endif
