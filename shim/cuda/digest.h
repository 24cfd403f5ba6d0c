/* MD2 (RFC 1319) and HMAC (RFC 2104) over it; what the runtime's self-test is made of. */
#ifndef SHIMBENCH_CUDA_DIGEST_H
#define SHIMBENCH_CUDA_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { MD2_BYTES = 16 }; /* of a block, and of the digest */

struct md2 {
    uint8_t state[MD2_BYTES];
    uint8_t checksum[MD2_BYTES];
    uint8_t block[MD2_BYTES];
    size_t filled; /* bytes of the block */
};

void md2_start(struct md2 *md2);
void md2_add(struct md2 *md2, const void *bytes, size_t size);
void md2_finish(struct md2 *md2, uint8_t digest[MD2_BYTES]);

struct hmac_md2 {
    struct md2 inner;
    uint8_t key[MD2_BYTES];
};

void hmac_md2_start(struct hmac_md2 *hmac, const uint8_t key[MD2_BYTES]);
void hmac_md2_add(struct hmac_md2 *hmac, const void *bytes, size_t size);
void hmac_md2_finish(struct hmac_md2 *hmac, uint8_t digest[MD2_BYTES]);

#endif
