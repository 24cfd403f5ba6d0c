/* The OpenGL types that cudaGL.h names, so that no OpenGL headers need be installed. */
#ifndef SHIMBENCH_GL_H
#define SHIMBENCH_GL_H
typedef unsigned int GLenum;
typedef unsigned int GLuint;
typedef int GLint;
#endif
