/* NVIDIA's runtime asks the driver, three times while it starts, for a keyed hash over facts that both
 * of them know; without the right answer it goes no further (error 103). The algorithm is public: it
 * is described in ZLUDA's dark_api/src/lib.rs (MIT or Apache-2.0), from which the key and the two
 * constants come; this is code of our own. -DSHIMBENCH_INTEGRITY=OFF leaves this file out. */
#include "cuda/integrity.h"

#include <assert.h>
#include <string.h>

#include "cuda/digest.h"

static_assert(sizeof(struct integrity_subject) == 48, "hashed as it lies in memory");
static_assert(sizeof(struct integrity_device) == 28, "hashed as it lies in memory");

static const uint8_t key[MD2_BYTES] = {0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52,
                                       0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f};

void integrity_answer(const struct integrity_subject *subject, const struct integrity_device *devices,
                      int count, uint64_t answer[2]) {
    struct hmac_md2 hmac;
    uint8_t digest[MD2_BYTES];
    if (subject->version % 10 < 2) {
        answer[0] = subject->version % 10 ? 0x1841181c03cb675c : 0x3341181c03cb675c;
        answer[1] = 0x8ed383aa1f4cd1e8;
        return;
    }
    hmac_md2_start(&hmac, key);
    hmac_md2_add(&hmac, subject, sizeof *subject);
    hmac_md2_add(&hmac, devices, (size_t)count * sizeof *devices);
    hmac_md2_finish(&hmac, digest);
    memcpy(answer, digest, sizeof digest);
}
