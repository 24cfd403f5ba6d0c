/* libcublasLt, which llama.cpp's CUDA 12 build names as NEEDED without importing anything from it: the
 * library has to be there, and exports nothing. */
typedef int nothing_exported;
