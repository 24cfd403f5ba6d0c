#include "cuda/digest.h"

#include <string.h>

/* The permutation of RFC 1319, made from the digits of pi. */
static const uint8_t pi_substitution[256] = {
    /* clang-format off */
     41,  46,  67, 201, 162, 216, 124,   1,  61,  54,  84, 161, 236, 240,   6,  19,
     98, 167,   5, 243, 192, 199, 115, 140, 152, 147,  43, 217, 188,  76, 130, 202,
     30, 155,  87,  60, 253, 212, 224,  22, 103,  66, 111,  24, 138,  23, 229,  18,
    190,  78, 196, 214, 218, 158, 222,  73, 160, 251, 245, 142, 187,  47, 238, 122,
    169, 104, 121, 145,  21, 178,   7,  63, 148, 194,  16, 137,  11,  34,  95,  33,
    128, 127,  93, 154,  90, 144,  50,  39,  53,  62, 204, 231, 191, 247, 151,   3,
    255,  25,  48, 179,  72, 165, 181, 209, 215,  94, 146,  42, 172,  86, 170, 198,
     79, 184,  56, 210, 150, 164, 125, 182, 118, 252, 107, 226, 156, 116,   4, 241,
     69, 157, 112,  89, 100, 113, 135,  32, 134,  91, 207, 101, 230,  45, 168,   2,
     27,  96,  37, 173, 174, 176, 185, 246,  28,  70,  97, 105,  52,  64, 126,  15,
     85,  71, 163,  35, 221,  81, 175,  58, 195,  92, 249, 206, 186, 197, 234,  38,
     44,  83,  13, 110, 133,  40, 132,   9, 211, 223, 205, 244,  65, 129,  77,  82,
    106, 220,  55, 200, 108, 193, 171, 250,  36, 225, 123,   8,  12, 189, 177,  74,
    120, 136, 149, 139, 227,  99, 232, 109, 233, 203, 213, 254,  59,   0,  29,  57,
    242, 239, 183,  14, 102,  88, 208, 228, 166, 119, 114, 248, 235, 117,  75,  10,
     49,  68,  80, 180, 143, 237,  31,  26, 219, 153, 141,  51, 159,  17, 131,  20,
    /* clang-format on */
};

static void md2_compress(struct md2 *md2) {
    uint8_t mixed[3 * MD2_BYTES];
    for (int i = 0; i < MD2_BYTES; i++) {
        mixed[i] = md2->state[i];
        mixed[MD2_BYTES + i] = md2->block[i];
        mixed[2 * MD2_BYTES + i] = md2->state[i] ^ md2->block[i];
    }
    uint8_t carried = 0;
    for (int round = 0; round < 18; round++) {
        for (size_t i = 0; i < sizeof mixed; i++)
            carried = mixed[i] ^= pi_substitution[carried];
        carried = (uint8_t)(carried + round);
    }
    memcpy(md2->state, mixed, sizeof md2->state);

    uint8_t last = md2->checksum[MD2_BYTES - 1];
    for (int i = 0; i < MD2_BYTES; i++)
        last = md2->checksum[i] ^= pi_substitution[md2->block[i] ^ last];
    md2->filled = 0;
}

void md2_start(struct md2 *md2) {
    memset(md2, 0, sizeof *md2);
}

void md2_add(struct md2 *md2, const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    while (size--) {
        md2->block[md2->filled++] = *from++;
        if (md2->filled == MD2_BYTES)
            md2_compress(md2);
    }
}

void md2_finish(struct md2 *md2, uint8_t digest[MD2_BYTES]) {
    uint8_t padding[MD2_BYTES], checksum[MD2_BYTES];
    size_t missing = MD2_BYTES - md2->filled;
    memset(padding, (int)missing, sizeof padding);
    md2_add(md2, padding, missing);
    memcpy(checksum, md2->checksum, sizeof checksum);
    md2_add(md2, checksum, sizeof checksum);
    memcpy(digest, md2->state, MD2_BYTES);
}

static void start_with_pad(struct md2 *md2, const uint8_t key[MD2_BYTES], uint8_t pad) {
    uint8_t padded[MD2_BYTES];
    for (int i = 0; i < MD2_BYTES; i++)
        padded[i] = key[i] ^ pad;
    md2_start(md2);
    md2_add(md2, padded, sizeof padded);
}

void hmac_md2_start(struct hmac_md2 *hmac, const uint8_t key[MD2_BYTES]) {
    memcpy(hmac->key, key, MD2_BYTES);
    start_with_pad(&hmac->inner, key, 0x36);
}

void hmac_md2_add(struct hmac_md2 *hmac, const void *bytes, size_t size) {
    md2_add(&hmac->inner, bytes, size);
}

void hmac_md2_finish(struct hmac_md2 *hmac, uint8_t digest[MD2_BYTES]) {
    struct md2 outer;
    uint8_t inner[MD2_BYTES];
    md2_finish(&hmac->inner, inner);
    start_with_pad(&outer, hmac->key, 0x5c);
    md2_add(&outer, inner, sizeof inner);
    md2_finish(&outer, digest);
}
